#include "arena_allocator.h"

#include <algorithm>
#include <iterator>

namespace penstock {
namespace {

uint64_t AlignmentOf(uint64_t size) { return size >= kArenaLarge ? kArenaPage : kArenaAlignment; }

uint64_t RoundUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

std::optional<uint64_t> ArenaAllocator::Rounded(uint64_t bytes) {
  if (bytes > UINT64_MAX - kArenaPage) return std::nullopt;
  return RoundUp(std::max<uint64_t>(bytes, 1), AlignmentOf(bytes));
}

void ArenaAllocator::TakeFree(uint64_t offset, uint64_t size) {
  free_.erase(offset);
  by_size_.erase({size, offset});
}

void ArenaAllocator::AddFree(uint64_t offset, uint64_t size) {
  if (size == 0) return;
  auto next = free_.lower_bound(offset);
  if (next != free_.begin()) {
    auto [before, length] = *std::prev(next);
    if (before + length == offset) {
      TakeFree(before, length);
      offset = before;
      size += length;
    }
  }
  next = free_.lower_bound(offset);
  if (next != free_.end() && next->first == offset + size) {
    auto [after, length] = *next;
    TakeFree(after, length);
    size += length;
  }
  free_[offset] = size;
  by_size_.emplace(size, offset);
}

void ArenaAllocator::Extend(uint64_t end) {
  if (end <= end_) return;
  AddFree(end_, end - end_);
  end_ = end;
}

std::optional<uint64_t> ArenaAllocator::Allocate(uint64_t bytes) {
  auto size = Rounded(bytes);
  if (!size) return std::nullopt;
  // A piece may have to give up to a page to alignment; the first that can is at most a few away.
  for (auto piece = by_size_.lower_bound({*size, 0}); piece != by_size_.end(); ++piece) {
    auto [length, start] = *piece;
    uint64_t offset = RoundUp(start, AlignmentOf(*size));
    if (offset - start > length - *size) continue;
    TakeFree(start, length);
    AddFree(start, offset - start);
    AddFree(offset + *size, length - (offset - start) - *size);
    used_[offset] = *size;
    used_bytes_ += *size;
    return offset;
  }
  return std::nullopt;
}

void ArenaAllocator::Free(uint64_t offset) {
  auto found = used_.find(offset);
  uint64_t size = found->second;
  used_.erase(found);
  used_bytes_ -= size;
  AddFree(offset, size);
}

void ArenaAllocator::Trim(uint64_t offset, uint64_t bytes) {
  uint64_t& size = used_.at(offset);
  uint64_t kept = RoundUp(std::max<uint64_t>(bytes, 1), AlignmentOf(size));
  if (kept >= size) return;
  uint64_t rest = size - kept;
  size = kept;
  used_bytes_ -= rest;
  AddFree(offset + kept, rest);
}

}  // namespace penstock

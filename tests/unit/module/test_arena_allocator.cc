#include <random>
#include <vector>

#include "arena_allocator.h"
#include "check.h"

using namespace penstock;

namespace {

void NothingIsThereBeforeItIsGiven() {
  ArenaAllocator arena(kArenaPage);
  CHECK(!arena.Allocate(1));
  arena.Extend(2 * kArenaPage);
  CHECK(!arena.Allocate(kArenaPage + 1));
  CHECK_EQUAL(*arena.Allocate(kArenaPage), kArenaPage);
  CHECK(!arena.Allocate(1));
  arena.Extend(2 * kArenaPage);  // no news
  CHECK(!arena.Allocate(1));
}

void SizesThatWrapAreRefused() {
  ArenaAllocator arena(0);
  arena.Extend(16 * kArenaPage);
  CHECK(!arena.Allocate(UINT64_MAX));
  CHECK(!arena.Allocate(UINT64_MAX - kArenaPage));
  CHECK(!ArenaAllocator::Rounded(UINT64_MAX));
  CHECK_EQUAL(*ArenaAllocator::Rounded(0), kArenaAlignment);
  CHECK_EQUAL(*ArenaAllocator::Rounded(kArenaLarge + 1), kArenaLarge + kArenaPage);
}

void TheSmallestPieceThatFitsIsTaken() {
  ArenaAllocator arena(0);
  arena.Extend(16 * kArenaPage);
  uint64_t large = *arena.Allocate(1024);
  (void)arena.Allocate(64);
  uint64_t small = *arena.Allocate(128);
  (void)arena.Allocate(64);
  arena.Free(large);
  arena.Free(small);
  CHECK_EQUAL(*arena.Allocate(100), small);
  CHECK_EQUAL(*arena.Allocate(100), large);
}

void WhatIsTrimmedIsFree() {
  ArenaAllocator arena(0);
  arena.Extend(64 * kArenaPage);
  uint64_t block = *arena.Allocate(32 * kArenaPage);
  arena.Trim(block, 40 * kArenaPage);  // larger than it is
  CHECK_EQUAL(arena.SizeOf(block), 32 * kArenaPage);
  arena.Trim(block, 20 * kArenaPage + 1);
  CHECK_EQUAL(arena.SizeOf(block), 21 * kArenaPage);
  CHECK_EQUAL(arena.used_bytes(), 21 * kArenaPage);
  CHECK_EQUAL(arena.largest_free(), 43 * kArenaPage);
  arena.Free(block);
  CHECK_EQUAL(arena.free_pieces(), 1u);
}

// The model: who has each 64 bytes. 0 is nobody.
class Model {
 public:
  explicit Model(uint64_t bytes) : units_(bytes / kArenaAlignment, 0) {}
  void Set(uint64_t offset, uint64_t size, int from, int to) {
    bool same = true;
    for (uint64_t i = offset / kArenaAlignment; i < (offset + size) / kArenaAlignment; ++i) {
      same = same && units_.at(i) == from;
      units_[i] = to;
    }
    CHECK(same);
  }
  // Of what nobody has: bytes in a row at most, and of aligned pages.
  uint64_t Longest(uint64_t end, uint64_t unit) const {
    uint64_t longest = 0;
    uint64_t start = 0;
    for (uint64_t i = 0; i <= end / kArenaAlignment; ++i) {
      if (i < end / kArenaAlignment && units_[i] == 0) continue;
      uint64_t from = (start + unit - 1) / unit * unit;
      uint64_t to = i * kArenaAlignment;
      longest = std::max(longest, to > from ? to - from : 0);
      start = to + kArenaAlignment;
    }
    return longest;
  }

 private:
  std::vector<int> units_;
};

void ItDoesWhatTheModelDoes(unsigned seed) {
  std::mt19937 dice(seed);
  auto roll = [&](uint64_t most) { return std::uniform_int_distribution<uint64_t>(0, most)(dice); };
  constexpr uint64_t kPages = 256;
  uint64_t end = kPages / 4 * kArenaPage;
  ArenaAllocator arena(0);
  arena.Extend(end);
  Model model(kPages * kArenaPage);
  std::vector<std::pair<uint64_t, int>> blocks;
  uint64_t used = 0;
  for (int step = 1; step <= 3000; ++step) {
    uint64_t what = roll(99);
    if (what == 0 && end < kPages * kArenaPage) arena.Extend(end += kArenaPage * (1 + roll(3)));
    if (end > kPages * kArenaPage) break;
    if (what < 50) {
      uint64_t bytes = roll(3) == 0 ? 1 + roll(40 * kArenaPage) : 1 + roll(2000);
      uint64_t size = *ArenaAllocator::Rounded(bytes);
      uint64_t unit = size >= kArenaLarge ? kArenaPage : kArenaAlignment;
      auto offset = arena.Allocate(bytes);
      CHECK_EQUAL(offset.has_value(),
                  model.Longest(end, unit) >= size);  // it never fails while there is room
      if (!offset) continue;
      CHECK_EQUAL(*offset % unit, 0u);
      CHECK_EQUAL(arena.SizeOf(*offset), size);
      model.Set(*offset, size, 0, step);
      used += size;
      blocks.emplace_back(*offset, step);
    } else if (!blocks.empty()) {
      size_t at = roll(blocks.size() - 1);
      auto [offset, owner] = blocks[at];
      uint64_t size = arena.SizeOf(offset);
      if (what < 60) {
        arena.Trim(offset, 1 + roll(size));
        uint64_t kept = arena.SizeOf(offset);
        model.Set(offset + kept, size - kept, owner, 0);
        used -= size - kept;
        continue;
      }
      arena.Free(offset);
      model.Set(offset, size, owner, 0);
      used -= size;
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(at));
    }
    CHECK_EQUAL(arena.used_bytes(), used);
    CHECK_EQUAL(arena.largest_free(), model.Longest(end, kArenaAlignment));
  }
  for (auto& [offset, owner] : blocks) arena.Free(offset);
  CHECK_EQUAL(arena.used_bytes(), 0u);
  CHECK_EQUAL(arena.free_pieces(), 1u);
}

}  // namespace

int main() {
  NothingIsThereBeforeItIsGiven();
  SizesThatWrapAreRefused();
  TheSmallestPieceThatFitsIsTaken();
  WhatIsTrimmedIsFree();
  for (unsigned seed = 1; seed <= 8; ++seed) ItDoesWhatTheModelDoes(seed);
  return penstock::test::Report();
}

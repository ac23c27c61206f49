#include "arena.h"

#include <algorithm>
#include <utility>

namespace penstock {

Arena::Arena(std::unique_ptr<SharedMemory> memory) : memory_(std::move(memory)), limit_(memory_->bytes()) {}

void Arena::Extend(uint64_t end) {
  {
    std::lock_guard lock(mutex_);
    allocator_.Extend(end);
    ready_ = end;
  }
  on_room_();
}

void Arena::Limit(uint64_t end) {
  std::lock_guard lock(mutex_);
  limit_ = end;
}

bool Arena::Wants() const {
  return ready_ < limit_ && allocator_.largest_free() < std::max(kArenaAhead, largest_asked_);
}

bool Arena::WantsMore() const {
  std::lock_guard lock(mutex_);
  return Wants();
}

ArenaBlockPtr Arena::Take(uint64_t bytes) {
  ArenaBlockPtr block;
  bool wants = false;
  {
    std::lock_guard lock(mutex_);
    largest_asked_ = std::max(largest_asked_, ArenaAllocator::Rounded(bytes).value_or(0));
    if (auto offset = allocator_.Allocate(bytes))
      block = std::make_shared<ArenaBlock>(this, *offset, allocator_.SizeOf(*offset));
    wants = Wants();
  }
  if (wants) on_want_();
  return block;
}

bool Arena::CouldHold(uint64_t bytes) const {
  auto size = ArenaAllocator::Rounded(bytes);
  std::lock_guard lock(mutex_);
  return size && *size <= limit_ - kArenaPage;
}

void Arena::Return(uint64_t offset) {
  {
    std::lock_guard lock(mutex_);
    if (child_lives_) return deferred_.push_back(offset);
    allocator_.Free(offset);
  }
  on_room_();
}

void Arena::Trim(uint64_t offset, uint64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    allocator_.Trim(offset, bytes);
  }
  on_room_();
}

void Arena::ForkBorn() {
  std::lock_guard lock(mutex_);
  child_lives_ = true;
}

void Arena::ForkDied() {
  {
    std::lock_guard lock(mutex_);
    child_lives_ = false;
    for (uint64_t offset : std::exchange(deferred_, {})) allocator_.Free(offset);
  }
  on_room_();
}

Arena::Counts Arena::counts() const {
  std::lock_guard lock(mutex_);
  uint64_t deferred = 0;
  for (uint64_t offset : deferred_) deferred += allocator_.SizeOf(offset);
  return {memory_->bytes(), ready_, allocator_.used_bytes(), deferred, allocator_.largest_free()};
}

void ArenaBlock::Trim() {
  if (bytes_ < capacity_) arena_->Trim(offset_, bytes_);
  capacity_ = bytes_;
}

}  // namespace penstock

// An arena: shared memory cut into blocks that tensors, leases and mappings hold.
//
// DESIGN
//   A block is free again when its last holder drops it, on whatever thread. While a child of the server
//   writes a save, it reads the tensors of the moment it was forked from this very memory, not from a copy: a
//   block that is dropped meanwhile is kept aside until the child has ended (ForkBorn, ForkDied). Nothing
//   that the child can see is dropped between the fork and ForkBorn: keys go on the main thread, which is
//   forking. Only memory that has been taken from the system is given out (Extend), and only so much is taken
//   as is used, and a little ahead (WantsMore). Threads: any; the mutex guards the allocator and what is kept
//   aside. No lock is held while OnRoom and OnWant are called.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "arena_allocator.h"
#include "memory.h"
#include "shared_memory.h"

namespace penstock {

/// Bytes that are taken from the system before somebody asks for them.
inline constexpr uint64_t kArenaAhead = 8 << 20;

class ArenaBlock;
using ArenaBlockPtr = std::shared_ptr<ArenaBlock>;

class Arena {
 public:
  struct Counts {
    uint64_t size;          // of the whole file
    uint64_t ready;         // taken from the system so far
    uint64_t used;          // of blocks, those that are deferred among them
    uint64_t deferred;      // dropped while a child lives
    uint64_t largest_free;  // the largest piece
  };

  explicit Arena(std::unique_ptr<SharedMemory> memory);
  const SharedMemory& memory() const { return *memory_; }
  SharedMemory& memory() { return *memory_; }
  /// Called after room was made, by the thread that made it. Set before the arena is used.
  void OnRoom(std::function<void()> call) { on_room_ = std::move(call); }
  /// Called when more of it is wanted from the system, by the thread that wants it; set as OnRoom is.
  void OnWant(std::function<void()> call) { on_want_ = std::move(call); }
  /// Whether the largest free piece is smaller than what is kept ahead, or than the largest block so far.
  bool WantsMore() const;
  /// Memory up to `end` has been taken from the system.
  void Extend(uint64_t end);
  /// There will be no more than `end`: the system has none.
  void Limit(uint64_t end);
  /// Null when there is no piece of that size now.
  ArenaBlockPtr Take(uint64_t bytes);
  /// Whether a block of that size fits into the arena when it is empty.
  bool CouldHold(uint64_t bytes) const;
  void ForkBorn();
  void ForkDied();
  Counts counts() const;

 private:
  friend class ArenaBlock;
  bool Wants() const;  // with the mutex
  void Return(uint64_t offset);
  void Trim(uint64_t offset, uint64_t bytes);

  const std::unique_ptr<SharedMemory> memory_;
  std::function<void()> on_room_ = [] {};
  std::function<void()> on_want_ = [] {};
  mutable std::mutex mutex_;
  ArenaAllocator allocator_{kArenaPage};  // guarded by mutex_
  std::vector<uint64_t> deferred_;        // guarded by mutex_
  uint64_t ready_ = kArenaPage;           // guarded by mutex_
  uint64_t limit_;                        // guarded by mutex_
  uint64_t largest_asked_ = 0;            // guarded by mutex_
  bool child_lives_ = false;              // guarded by mutex_
};

/// One block. Its bytes are written by its one holder, a lease, and never again once it is a tensor's.
class ArenaBlock : public Buffer {
 public:
  ArenaBlock(Arena* arena, uint64_t offset, uint64_t capacity)
      : arena_(arena), offset_(offset), capacity_(capacity), bytes_(capacity) {}
  ~ArenaBlock() override { arena_->Return(offset_); }
  std::string_view view() const override { return {arena_->memory().base() + offset_, bytes_}; }
  bool stays() const override { return true; }
  uint64_t offset() const { return offset_; }
  /// What may be written.
  uint64_t capacity() const { return capacity_; }
  /// Makes the first `bytes` its view. Before it is shared, by one thread.
  void Narrow(uint64_t bytes) { bytes_ = bytes; }
  /// Gives back what is behind its view.
  void Trim();

 private:
  Arena* const arena_;
  const uint64_t offset_;
  uint64_t capacity_;
  uint64_t bytes_;
};

}  // namespace penstock

// Memory for models and runs, out of the server's, and no more of it than is allowed.
//
// DESIGN
//   Libraries that let their allocator be chosen take their memory here, so that the server's maxmemory and
//   INFO count what they load and compute. Two bounds. The one of BACKEND_MEMORY_LIMIT holds for all that is
//   alive in this backend. What the server has left of its maxmemory holds for each run alone: commands are
//   refused above maxmemory, but a run allocates between two commands. It is counted on the run's own thread,
//   where an array may be freed that another thread made, so it is near and not exact. Each backend has its
//   own copy of all this.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace penstock {

/// `library` is how errors call it. Before any thread allocates.
void InstallMemory(const char* library, const backend::Settings& settings);

/// Aligned to 64 bytes. Throws std::runtime_error when that is too much.
void* AllocateBounded(size_t bytes);
/// Throws the same for memory that is not allocated here, and counts nothing.
void CheckAllocation(size_t bytes);
/// Null is fine.
void ReleaseBounded(void* memory) noexcept;

/// Allocated and not yet released by this thread, as far as this thread did both.
int64_t BytesOfThisThread() noexcept;

/// Bounds what the calling thread allocates, for as long as it lives, by what the call leaves it.
class RunBudget {
 public:
  explicit RunBudget(const backend::Call& call) noexcept;
  ~RunBudget();
  RunBudget(const RunBudget&) = delete;
  RunBudget& operator=(const RunBudget&) = delete;

 private:
  int64_t before_;
};

}  // namespace penstock

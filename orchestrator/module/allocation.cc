#include "allocation.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <stdexcept>
#include <string>

namespace penstock {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

const char* name = "The library";
uint64_t limit = 0;
backend::Memory server{};
std::atomic<uint64_t> alive = 0;
thread_local int64_t mine = 0;
thread_local int64_t allowed = kNone;  // `mine` may not grow above it

// An allocator may promise more than there is, and whoever uses it is killed by the system.
bool FitsThisHost(size_t bytes) {
  static const uint64_t there =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return bytes <= there && alive <= there - bytes;
}

[[noreturn]] void NotThere(size_t bytes) {
  throw std::runtime_error(std::string(name) + " was stopped: this host has no " + std::to_string(bytes) +
                           " bytes of memory more");
}

}  // namespace

void InstallMemory(const char* library, const backend::Settings& settings) {
  name = library;
  limit = settings.memory_limit;
  server = settings.memory;
}

void CheckAllocation(size_t bytes) {
  if (limit > 0 && (bytes > limit || alive > limit - bytes)) {
    throw std::runtime_error(std::string(name) + " memory limit exceeded, memory allocation failed.");
  }
  if (allowed != kNone && (mine > allowed || bytes > static_cast<uint64_t>(allowed - mine))) {
    throw std::runtime_error(std::string(name) +
                             " was stopped: the run takes more memory than maxmemory leaves to it");
  }
  if (!FitsThisHost(bytes)) NotThere(bytes);
}

void* AllocateBounded(size_t bytes) {
  CheckAllocation(bytes);
  void* memory = server.allocate(bytes);
  if (memory == nullptr) NotThere(bytes);
  mine += static_cast<int64_t>(server.size(memory));
  alive += server.size(memory);
  return memory;
}

void ReleaseBounded(void* memory) noexcept {
  mine -= static_cast<int64_t>(server.size(memory));
  alive -= server.size(memory);
  server.release(memory);
}

int64_t BytesOfThisThread() noexcept { return mine; }

RunBudget::RunBudget(const backend::Call& call) noexcept : before_(allowed) {
  if (call.memory_left > 0 && call.memory_left < static_cast<uint64_t>(kNone - mine))
    allowed = std::min(allowed, mine + static_cast<int64_t>(call.memory_left));
}

RunBudget::~RunBudget() { allowed = before_; }

}  // namespace penstock

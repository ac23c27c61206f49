#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace penstock {
namespace {

std::atomic<uint64_t> spare = 0;
Allocator installed{std::malloc, std::calloc, std::free};

// Lies just before memory that is aligned.
struct AlignedHead {
  void* start;  // what the allocator gave
  size_t taken;
};

class ServerBuffer : public Buffer {
 public:
  ServerBuffer(char* memory, size_t size) : memory_(memory), size_(size) {}
  ~ServerBuffer() override { installed.release(memory_); }
  std::string_view view() const override { return {memory_, size_}; }

 private:
  char* memory_;
  size_t size_;
};

}  // namespace

void SetSpareMemory(uint64_t bytes) { spare = bytes; }

uint64_t SpareMemory() { return spare; }

void InstallAllocator(const Allocator& allocator) { installed = allocator; }

BufferPtr AdoptBytes(char* memory, size_t size) { return std::make_shared<ServerBuffer>(memory, size); }

BufferPtr CopyBytes(std::string_view bytes) {
  auto* memory = static_cast<char*>(installed.allocate(bytes.empty() ? 1 : bytes.size()));
  if (memory == nullptr) return nullptr;
  if (!bytes.empty()) std::memcpy(memory, bytes.data(), bytes.size());
  return AdoptBytes(memory, bytes.size());
}

BufferPtr ZeroBytes(size_t size) {
  auto* memory = static_cast<char*>(installed.zeroed(1, size == 0 ? 1 : size));
  return memory == nullptr ? nullptr : AdoptBytes(memory, size);
}

void DiscardPages(std::string_view bytes) {
  constexpr uintptr_t kStep = 4 << 20;  // a page fault elsewhere waits for no longer than one step
  auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  auto start = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
  for (uintptr_t at = start; at < end; at += kStep) {
    // Where the system refuses (locked memory), the pages stay until the memory is freed.
    (void)madvise(reinterpret_cast<void*>(at), std::min(kStep, end - at), MADV_DONTNEED);
  }
}

void* AllocateAligned(size_t size) {
  constexpr size_t kAlignment = 64;
  constexpr size_t kMost = std::numeric_limits<size_t>::max() - kAlignment - sizeof(AlignedHead);
  if (size > kMost) return nullptr;
  size_t taken = size + kAlignment + sizeof(AlignedHead);
  void* start = installed.allocate(taken);
  if (start == nullptr) return nullptr;
  auto first = reinterpret_cast<uintptr_t>(start) + sizeof(AlignedHead);
  auto* memory = reinterpret_cast<AlignedHead*>((first + kAlignment - 1) / kAlignment * kAlignment);
  memory[-1] = {start, taken};
  return memory;
}

void ReleaseAligned(void* memory) {
  if (memory != nullptr) installed.release(static_cast<AlignedHead*>(memory)[-1].start);
}

size_t AlignedSize(const void* memory) {
  return memory == nullptr ? 0 : static_cast<const AlignedHead*>(memory)[-1].taken;
}

}  // namespace penstock

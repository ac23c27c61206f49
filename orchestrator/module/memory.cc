#include "memory.h"

#include <cstdlib>
#include <cstring>

namespace penstock {
namespace {

Allocator installed{std::malloc, std::calloc, std::free};

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

void FreeAligned::operator()(void* memory) const { std::free(memory); }

AlignedBytes AlignedCopy(std::string_view bytes) {
  constexpr size_t kAlignment = 64;
  size_t rounded = (bytes.size() / kAlignment + 1) * kAlignment;
  AlignedBytes memory(std::aligned_alloc(kAlignment, rounded));
  if (memory != nullptr && !bytes.empty()) std::memcpy(memory.get(), bytes.data(), bytes.size());
  return memory;
}

}  // namespace penstock

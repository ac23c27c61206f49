// Bytes that tensors and model files are made of.
//
// DESIGN
//   A Buffer is immutable once shared, so any number of threads read it without a lock. Who frees it depends
//   on where it came from: server memory here, an argument held from the client in held_string.h. Server
//   memory comes from the server's own allocator, so that maxmemory and INFO see it; until the module
//   installs that allocator (and in the unit tests) it is malloc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace penstock {

/// Set once, at load, before any thread starts. `allocate` may return null; `zeroed` clears.
struct Allocator {
  void* (*allocate)(size_t bytes);
  void* (*zeroed)(size_t count, size_t bytes);
  void (*release)(void* memory);
};
void InstallAllocator(const Allocator& allocator);

/// Bytes that maxmemory leaves, as of a moment ago; 0: there is no maxmemory. Commands are refused above it;
/// a run, which allocates between two commands, is told of it.
void SetSpareMemory(uint64_t bytes);
uint64_t SpareMemory();

class Buffer {
 public:
  Buffer() = default;
  virtual ~Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  /// Asked for anew at each use: a held argument may move until the command that brought it is over.
  virtual std::string_view view() const = 0;
  /// Whether the bytes surely are where they are for as long as this lives.
  virtual bool stays() const { return false; }
  size_t size() const { return view().size(); }
};

using BufferPtr = std::shared_ptr<const Buffer>;

/// Both null when there is not enough memory.
BufferPtr CopyBytes(std::string_view bytes);
BufferPtr ZeroBytes(size_t size);
/// Takes over memory that the server's allocator gave.
BufferPtr AdoptBytes(char* memory, size_t size);

/// Gives the whole pages among these bytes back to the system, which are zeros from then on.
void DiscardPages(std::string_view bytes);

/// Server memory aligned to 64 bytes, for runs and for what backends load. Any thread. Null when there is
/// not enough.
void* AllocateAligned(size_t size);
void ReleaseAligned(void* memory);
/// Bytes that it takes of the server's.
size_t AlignedSize(const void* memory);

struct FreeAligned {
  void operator()(void* memory) const { ReleaseAligned(memory); }
};
using AlignedBytes = std::unique_ptr<void, FreeAligned>;
inline AlignedBytes AlignedSpace(size_t size) { return AlignedBytes(AllocateAligned(size)); }

}  // namespace penstock

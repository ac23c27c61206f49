// A model's file, as it came: in pieces, in memory, or on disk when it is large.
//
// DESIGN
//   The bytes never change. Where they lie may change once, when a loader has written them to disk: it moves
//   them while it has the server's lock, so that neither the main thread nor a forked child that saves sees
//   it happen. Who reads them is the main thread, such a child, or a loader, of which there may be several
//   for one file: each calls OnceBeforeLoading() first, so none reads while another moves.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "memory.h"

namespace penstock {

class ModelFile {
 public:
  explicit ModelFile(std::vector<BufferPtr> pieces = {}) : pieces_(std::move(pieces)) {}
  /// Calls `move` for the first of all loaders, the others wait for it.
  void OnceBeforeLoading(const std::function<void()>& move) { std::call_once(moved_, move); }
  void Add(BufferPtr piece) { pieces_.push_back(std::move(piece)); }
  const std::vector<BufferPtr>& pieces() const { return pieces_; }
  bool on_disk() const { return on_disk_; }
  size_t size() const;
  /// What of it is in the server's memory.
  size_t MemoryBytes() const { return on_disk_ ? 0 : size(); }
  /// Bytes [start, start + count); copied into `scratch` only when they lie in several pieces.
  std::string_view Part(size_t start, size_t count, std::string* scratch) const;
  bool SameAs(const ModelFile& other) const;
  /// The same bytes lie there now. Returns what held them, to be dropped without the lock.
  std::vector<BufferPtr> MoveToDisk(BufferPtr there);
  /// Has been read: where it lies on disk, that has brought it into memory.
  void NeedNoMemory() const;

 private:
  std::vector<BufferPtr> pieces_;
  bool on_disk_ = false;
  std::once_flag moved_;
};

}  // namespace penstock

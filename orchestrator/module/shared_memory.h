// Memory that processes of the same user can map: a file without a name, open in this process.
//
// DESIGN
//   Others open /proc/<pid>/fd/<fd> of this process. It is not in any file system, so that nothing is left
//   behind however the process ends, and its mode lets in nobody but its user. Its size is sealed: no client
//   can cut it off under another's feet. It begins with a page that says whose it is: PENSTOCK, then the 32
//   characters of its id, by which a client knows that it has opened the file it was told of and not that of
//   another process of the same number (another PID namespace). Bytes are taken from the system piece by
//   piece (Populate); nobody may touch what is not yet taken, for where the system has no memory left that
//   would be a fatal signal.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "status.h"

namespace penstock {

class SharedMemory {
 public:
  /// `bytes` is a multiple of a page, and at least two.
  static Result<std::unique_ptr<SharedMemory>> Create(uint64_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  /// Takes the bytes from `start` to `end` from the system; an error when it has none to give.
  Status Populate(uint64_t start, uint64_t end);
  char* base() const { return base_; }
  uint64_t bytes() const { return bytes_; }
  /// 32 hexadecimal digits, different for each.
  const std::string& id() const { return id_; }
  /// Where others open it.
  std::string Path() const;

 private:
  SharedMemory() = default;
  Status Open(uint64_t bytes);
  Status WriteHead();

  int fd_ = -1;
  char* base_ = nullptr;
  uint64_t bytes_ = 0;
  std::string id_;
};

}  // namespace penstock

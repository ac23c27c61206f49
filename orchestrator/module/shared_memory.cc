#include "shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "arena_allocator.h"
#include "random_id.h"

namespace penstock {
namespace {

constexpr char kMark[] = "PENSTOCK";
constexpr size_t kIdDigits = 32;

Status SystemError(const std::string& what) {
  return Status::Error("the arena: " + what + ": " + std::strerror(errno));
}

}  // namespace

Result<std::unique_ptr<SharedMemory>> SharedMemory::Create(uint64_t bytes) {
  std::unique_ptr<SharedMemory> memory(new SharedMemory);
  Status status = memory->Open(bytes);
  if (status.ok()) status = memory->WriteHead();
  if (!status.ok()) return status;
  return memory;
}

Status SharedMemory::Open(uint64_t bytes) {
  fd_ = memfd_create("penstock-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd_ < 0) return SystemError("the system gives no file in memory");
  if (fchmod(fd_, S_IRUSR | S_IWUSR) != 0) return SystemError("its mode");
  if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return SystemError("its size");
  if (fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return SystemError("its seals");
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (base == MAP_FAILED) return SystemError("the system cannot map it");
  base_ = static_cast<char*>(base);
  bytes_ = bytes;
  (void)madvise(base_, bytes_, MADV_HUGEPAGE);  // where the system has them for shared memory
  (void)madvise(base_, bytes_, MADV_DONTDUMP);
  return Status::Ok();
}

Status SharedMemory::WriteHead() {
  Status status = Populate(0, kArenaPage);
  if (!status.ok()) return status;
  auto id = RandomId(kIdDigits);
  if (!id.ok()) return Status::Error("the arena: " + id.status().text());
  id_ = *id;
  std::memcpy(base_, kMark, sizeof kMark - 1);
  std::memcpy(base_ + sizeof kMark - 1, id_.data(), id_.size());
  return Status::Ok();
}

SharedMemory::~SharedMemory() {
  if (base_ != nullptr) munmap(base_, bytes_);
  if (fd_ >= 0) close(fd_);
}

Status SharedMemory::Populate(uint64_t start, uint64_t end) {
  int done = 0;
  do {
    done = fallocate(fd_, 0, static_cast<off_t>(start), static_cast<off_t>(end - start));
  } while (done != 0 && errno == EINTR);
  if (done != 0) return SystemError("the system has no memory for it");
#ifdef MADV_POPULATE_WRITE
  // Spares this process its page faults; older systems do not know it.
  (void)madvise(base_ + start, end - start, MADV_POPULATE_WRITE);
#endif
  return Status::Ok();
}

std::string SharedMemory::Path() const {
  return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_);
}

}  // namespace penstock

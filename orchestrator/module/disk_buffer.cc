#include "disk_buffer.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "write_all.h"

namespace penstock {
namespace {

Status Failure(const std::string& folder) {
  return Status::Error("a file in " + folder + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

// Some file systems have no files without a name: there it has one for a moment.
int OpenNameless(const std::string& folder) {
  int file = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return file;
  std::string name = folder + "/penstock-model-XXXXXX";
  file = mkostemp(name.data(), O_CLOEXEC);
  if (file >= 0) unlink(name.c_str());
  return file;
}

bool IsInMemory(int file) {
  struct statfs facts{};
  return fstatfs(file, &facts) == 0 && (facts.f_type == TMPFS_MAGIC || facts.f_type == RAMFS_MAGIC);
}

class DiskBuffer : public Buffer {
 public:
  DiskBuffer(void* memory, size_t size) : memory_(memory), size_(size) {}
  ~DiskBuffer() override { munmap(memory_, size_); }
  std::string_view view() const override { return {static_cast<const char*>(memory_), size_}; }

 private:
  void* memory_;
  size_t size_;
};

}  // namespace

Result<BufferPtr> WriteToDisk(const std::vector<BufferPtr>& pieces, const std::string& folder) {
  Descriptor file(OpenNameless(folder));
  if (file.number() < 0) return Failure(folder);
  if (IsInMemory(file.number())) return Status::Error(folder + " is itself in memory");
  size_t size = 0;
  for (const BufferPtr& piece : pieces) {
    if (!WriteAll(file.number(), piece->view())) return Failure(folder);
    size += piece->size();
  }
  void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number(), 0);
  if (memory == MAP_FAILED) return Failure(folder);
  return BufferPtr(std::make_shared<DiskBuffer>(memory, size));
}

}  // namespace penstock

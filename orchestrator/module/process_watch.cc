#include "process_watch.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "threads.h"

namespace penstock {
namespace {

constexpr uint64_t kStop = 0;  // among the serial numbers

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

int OpenPidfd(int64_t pid) {
#ifdef SYS_pidfd_open
  return static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0));
#else
  errno = ENOSYS;
  return -1;
#endif
}

Status SystemError(const std::string& what) { return Status::Error(what + ": " + std::strerror(errno)); }

bool IsOfThisUser(int64_t pid) {
  struct stat found{};
  return stat(("/proc/" + std::to_string(pid)).c_str(), &found) == 0 && found.st_uid == geteuid();
}

}  // namespace

struct ProcessWatch::Shared {
  Shared() : epoll(epoll_create1(EPOLL_CLOEXEC)), stop(eventfd(0, EFD_CLOEXEC)) {}
  bool Add(int fd, uint64_t serial) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = serial;
    return epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }
  // False when it is not known. With the lock. Not left to close(): a child of the server may have the pidfd
  // too.
  bool Drop(uint64_t serial) {
    auto found = pidfds.find(serial);
    if (found == pidfds.end()) return false;
    (void)epoll_ctl(epoll.get(), EPOLL_CTL_DEL, found->second.get(),
                    nullptr);  // it was never added, at worst
    pidfds.erase(found);
    return true;
  }
  void Loop();

  const Descriptor epoll;
  const Descriptor stop;
  Ended ended;
  std::mutex mutex;
  std::condition_variable left;
  std::map<uint64_t, Descriptor> pidfds;  // guarded by mutex
  uint64_t last = kStop;                  // guarded by mutex
  bool running = true;                    // guarded by mutex
};

void ProcessWatch::Shared::Loop() {
  for (;;) {
    epoll_event event{};
    int count = epoll_wait(epoll.get(), &event, 1, -1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0 || event.data.u64 == kStop) break;
    std::unique_lock lock(mutex);
    bool known = Drop(event.data.u64);
    lock.unlock();
    if (known) ended(event.data.u64);
  }
  std::lock_guard lock(mutex);
  running = false;
  left.notify_all();
}

Result<std::unique_ptr<ProcessWatch>> ProcessWatch::Start(Ended ended) {
  Descriptor own(OpenPidfd(getpid()));
  if (own.get() < 0) return SystemError("the system cannot tell of the ends of processes (Linux 5.3 can)");
  auto shared = std::make_shared<Shared>();
  if (shared->epoll.get() < 0 || shared->stop.get() < 0 || !shared->Add(shared->stop.get(), kStop)) {
    return SystemError("the system cannot wait for the ends of processes");
  }
  shared->ended = std::move(ended);
  try {
    StartThread("ai-processes", [shared] { shared->Loop(); });
  } catch (const std::system_error& error) {
    return Status::Error(std::string("no thread to wait for the ends of processes: ") + error.what());
  }
  return std::unique_ptr<ProcessWatch>(new ProcessWatch(shared));
}

ProcessWatch::~ProcessWatch() {
  Stop();
  Join(Clock::time_point::max());
}

Result<uint64_t> ProcessWatch::Watch(int64_t pid) {
  std::string name = "process " + std::to_string(pid);
  if (pid <= 0 || pid > INT32_MAX) return Status::Error(name + " cannot be: it is no number of a process");
  Descriptor pidfd(OpenPidfd(pid));
  if (pidfd.get() < 0) return SystemError(name + " is not on the server's host");
  if (!IsOfThisUser(pid)) return Status::Error(name + " is another user's");
  std::lock_guard lock(shared_->mutex);
  uint64_t serial = ++shared_->last;
  int fd = pidfd.get();
  shared_->pidfds.emplace(serial, std::move(pidfd));
  if (!shared_->Add(fd, serial)) {
    Status status = SystemError("cannot wait for the end of " + name);
    shared_->Drop(serial);
    return status;
  }
  return serial;
}

bool ProcessWatch::HasEnded(uint64_t serial) {
  std::lock_guard lock(shared_->mutex);
  auto found = shared_->pidfds.find(serial);
  if (found == shared_->pidfds.end()) return true;
  pollfd asked{found->second.get(), POLLIN, 0};
  return poll(&asked, 1, 0) > 0;
}

void ProcessWatch::Forget(uint64_t serial) {
  std::lock_guard lock(shared_->mutex);
  (void)shared_->Drop(serial);
}

void ProcessWatch::Stop() {
  uint64_t one = 1;
  // An eventfd that cannot be written to is full of earlier stops.
  (void)!write(shared_->stop.get(), &one, sizeof one);
}

bool ProcessWatch::Join(Clock::time_point deadline) {
  std::unique_lock lock(shared_->mutex);
  auto gone = [this] { return !shared_->running; };
  if (deadline != Clock::time_point::max()) return shared_->left.wait_until(lock, deadline, gone);
  shared_->left.wait(lock, gone);
  return true;
}

}  // namespace penstock

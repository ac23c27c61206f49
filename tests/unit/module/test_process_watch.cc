#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "check.h"
#include "process_watch.h"

using namespace penstock;
using penstock::test::Text;

namespace {

constexpr std::chrono::seconds kDeadline{60};

// The ends that were told of.
class Ends {
 public:
  void Add(uint64_t serial) {
    std::lock_guard lock(mutex_);
    told_.push_back(serial);
    changed_.notify_all();
  }
  bool Wait(uint64_t serial) {
    std::unique_lock lock(mutex_);
    auto told = [&] { return std::find(told_.begin(), told_.end(), serial) != told_.end(); };
    return changed_.wait_for(lock, kDeadline, told);
  }
  size_t count() {
    std::lock_guard lock(mutex_);
    return told_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint64_t> told_;
};

pid_t Sleeper() {
  pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  return pid;
}

void End(pid_t pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

void ProcessesThatAreNotThereAreRefused() {
  auto watch = ProcessWatch::Start([](uint64_t) {});
  CHECK_EQUAL(Text((*watch)->Watch(0)), "process 0 cannot be: it is no number of a process");
  CHECK_EQUAL(Text((*watch)->Watch(int64_t{1} << 40)),
              "process 1099511627776 cannot be: it is no number of a process");
  pid_t gone = Sleeper();
  End(gone);
  CHECK_EQUAL(Text((*watch)->Watch(gone)),
              "process " + std::to_string(gone) + " is not on the server's host: No such process");
}

void EndsAreTold() {
  Ends ends;
  auto watch = ProcessWatch::Start([&](uint64_t serial) { ends.Add(serial); });
  pid_t first = Sleeper();
  pid_t second = Sleeper();
  pid_t third = Sleeper();
  uint64_t one = *(*watch)->Watch(first);
  uint64_t two = *(*watch)->Watch(second);
  uint64_t three = *(*watch)->Watch(third);
  CHECK(!(*watch)->HasEnded(one));
  End(second);
  CHECK((*watch)->HasEnded(two));  // told of or not
  CHECK(ends.Wait(two));
  CHECK(!(*watch)->HasEnded(one));
  (*watch)->Forget(one);
  End(first);
  End(third);
  CHECK(ends.Wait(three));
  CHECK_EQUAL(ends.count(), 2u);
}

// A child of the server has its own hold on every pidfd; that must not make the watch hear of one for ever.
void AChildThatHasThePidfdsToo() {
  Ends ends;
  auto watch = ProcessWatch::Start([&](uint64_t serial) { ends.Add(serial); });
  pid_t watched = Sleeper();
  uint64_t serial = *(*watch)->Watch(watched);
  pid_t child = Sleeper();
  End(watched);
  CHECK(ends.Wait(serial));
  pid_t other = Sleeper();
  uint64_t later = *(*watch)->Watch(other);
  End(other);
  CHECK(ends.Wait(later));
  CHECK_EQUAL(ends.count(), 2u);
  End(child);
}

void ItStopsAndLeaves() {
  auto watch = ProcessWatch::Start([](uint64_t) {});
  (*watch)->Stop();
  CHECK((*watch)->Join(Clock::now() + kDeadline));
}

}  // namespace

int main() {
  ProcessesThatAreNotThereAreRefused();
  EndsAreTold();
  AChildThatHasThePidfdsToo();
  ItStopsAndLeaves();
  return penstock::test::Report();
}

#include "server_lock.h"

#include <chrono>
#include <mutex>
#include <thread>

#include "module_state.h"

namespace penstock {
namespace {

constexpr std::chrono::microseconds kPoll{50};
constexpr std::chrono::microseconds kLookOn{500};

std::mutex& Turn() {
  static auto* turn = new std::mutex;  // threads may outlast the server's exit
  return *turn;
}

}  // namespace

bool IsOver(const Cancellation& cancellation) { return state().stopping || cancellation.canceled(); }

bool ServerLock::TryLock(const Cancellation& cancellation, For what) {
  if (redis::ThreadSafeContextTryLock(state().context) != redis::kOk) return false;
  bool paused = what == For::kCommands && redis::AvoidReplicaTraffic() != 0;
  if (!paused && !IsOver(cancellation)) return true;
  redis::ThreadSafeContextUnlock(state().context);
  return false;
}

ServerLock::ServerLock(const Cancellation& cancellation, For what) {
  std::unique_lock turn(Turn(), std::defer_lock);
  while (!IsOver(cancellation)) {
    bool mine = turn.owns_lock() || turn.try_lock();
    locked_ = mine && TryLock(cancellation, what);
    if (locked_) return;
    std::this_thread::sleep_for(mine ? kPoll : kLookOn);
  }
}

ServerLock::~ServerLock() {
  if (locked_) redis::ThreadSafeContextUnlock(state().context);
}

}  // namespace penstock

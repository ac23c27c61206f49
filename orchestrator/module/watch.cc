#include "watch.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <system_error>

#include "threads.h"

namespace penstock {

struct Watch::Shared {
  std::mutex mutex;
  std::condition_variable changed;                 // something is due earlier, or stopping
  std::condition_variable left;                    // the thread left
  std::map<Handle, std::function<void()>> coming;  // guarded by mutex
  Clock::time_point awake_at;                      // guarded by mutex: until when the thread sleeps
  uint64_t last = 0;                               // guarded by mutex
  bool running = false;                            // guarded by mutex
  bool stopping = false;                           // guarded by mutex

  void Loop();
  void DoNext(std::unique_lock<std::mutex>& lock);
};

void Watch::Shared::DoNext(std::unique_lock<std::mutex>& lock) {
  auto next = coming.extract(coming.begin());
  lock.unlock();
  next.mapped()();
  next = {};  // destroyed without the lock: it may be the last to know a run
  lock.lock();
}

void Watch::Shared::Loop() {
  std::unique_lock lock(mutex);
  while (!stopping) {
    awake_at = coming.empty() ? Clock::time_point::max() : coming.begin()->first.first;
    if (awake_at <= Clock::now()) {
      DoNext(lock);
    } else if (coming.empty()) {
      changed.wait(lock);
    } else {
      changed.wait_until(lock, awake_at);
    }
  }
  running = false;
  left.notify_all();
}

Watch::Watch() : shared_(std::make_shared<Shared>()) {}

Watch::~Watch() {
  Stop();
  Join(Clock::time_point::max());
}

Watch::Handle Watch::At(Clock::time_point when, std::function<void()> what) {
  std::unique_lock lock(shared_->mutex);
  Handle handle(when, ++shared_->last);
  if (shared_->stopping) return handle;
  shared_->coming.emplace(handle, std::move(what));
  bool start = !std::exchange(shared_->running, true);
  bool earlier = !start && when < shared_->awake_at;
  lock.unlock();
  if (start) Start();
  if (earlier) shared_->changed.notify_one();
  return handle;
}

// Where the system has no thread to give, what is due waits for the next call.
void Watch::Start() {
  try {
    StartThread("ai-watch", [shared = shared_] { shared->Loop(); });
  } catch (const std::system_error&) {
    std::lock_guard lock(shared_->mutex);
    shared_->running = false;
    shared_->left.notify_all();
  }
}

void Watch::Forget(const Handle& handle) {
  std::map<Handle, std::function<void()>>::node_type forgotten;  // destroyed without the lock
  std::lock_guard lock(shared_->mutex);
  forgotten = shared_->coming.extract(handle);
}

void Watch::Stop() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
  }
  shared_->changed.notify_all();
}

bool Watch::Join(Clock::time_point deadline) {
  std::map<Handle, std::function<void()>> dropped;
  std::unique_lock lock(shared_->mutex);
  auto gone = [this] { return !shared_->running; };
  bool for_ever = deadline == Clock::time_point::max();
  if (for_ever) shared_->left.wait(lock, gone);
  bool has_left = for_ever || shared_->left.wait_until(lock, deadline, gone);
  dropped.swap(shared_->coming);
  return has_left;
}

}  // namespace penstock

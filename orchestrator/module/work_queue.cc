#include "work_queue.h"

#include <pthread.h>
#include <signal.h>

namespace penstock {

struct WorkQueue::Shared {
  std::mutex mutex;
  std::condition_variable work;             // a task came, or stopping
  std::condition_variable left;             // a worker left
  std::deque<std::unique_ptr<Task>> tasks;  // guarded by mutex
  int workers = 0;                          // guarded by mutex
  bool stopping = false;                    // guarded by mutex
};

namespace {

std::optional<Task::Skip> ReasonToSkip(const Task& task, Clock::time_point now) {
  if (task.abandoned()) return Task::Skip::kAbandoned;
  if (task.deadline() && *task.deadline() <= now) return Task::Skip::kTimedOut;
  return std::nullopt;
}

void Process(std::unique_ptr<Task> task) {
  auto reason = ReasonToSkip(*task, Clock::now());
  if (reason) {
    task->NotRun(*reason);
  } else {
    task->Run();
  }
  Task& last = *task;
  last.Deliver(std::move(task));
}

}  // namespace

namespace {

// Signals are for the main thread: while one of these lives, threads start with all of them blocked, except
// those that tell of a crash.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (int crash : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&all, crash);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

std::optional<Clock::time_point> DeadlineIn(std::chrono::milliseconds time) {
  auto now = Clock::now();
  if (time > std::chrono::floor<std::chrono::milliseconds>(Clock::time_point::max() - now))
    return std::nullopt;
  return now + time;
}

WorkQueue::WorkQueue(std::string name, int workers) : shared_(std::make_shared<Shared>()) {
  SignalsBlocked blocked;
  shared_->workers = workers;
  for (int i = 0; i < workers; ++i) {
    std::thread worker([shared = shared_, name = name.substr(0, 15)] {
      pthread_setname_np(pthread_self(), name.c_str());
      std::unique_lock lock(shared->mutex);
      while (true) {
        shared->work.wait(lock, [&] { return shared->stopping || !shared->tasks.empty(); });
        if (shared->stopping) break;
        auto task = std::move(shared->tasks.front());
        shared->tasks.pop_front();
        lock.unlock();
        Process(std::move(task));
        lock.lock();
      }
      --shared->workers;
      shared->left.notify_all();
    });
    worker.detach();  // Join() counts the workers down, because std::thread has no join with a deadline
  }
}

WorkQueue::~WorkQueue() {
  Stop();
  Join(Clock::time_point::max());
}

void WorkQueue::Push(std::unique_ptr<Task> task) {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->tasks.push_back(std::move(task));
  }
  shared_->work.notify_one();
}

void WorkQueue::Sweep(Clock::time_point now) {
  std::vector<std::pair<std::unique_ptr<Task>, Task::Skip>> skipped;
  {
    std::lock_guard lock(shared_->mutex);
    for (auto& task : shared_->tasks) {
      auto reason = ReasonToSkip(*task, now);
      if (reason) skipped.emplace_back(std::move(task), *reason);
    }
    std::erase(shared_->tasks, nullptr);
  }
  for (auto& [task, reason] : skipped) {
    task->NotRun(reason);
    Task& last = *task;
    last.Deliver(std::move(task));
  }
}

void WorkQueue::Stop() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
  }
  shared_->work.notify_all();
}

bool WorkQueue::Join(Clock::time_point deadline) {
  std::deque<std::unique_ptr<Task>> dropped;  // destroyed last, without the lock
  std::unique_lock lock(shared_->mutex);
  auto gone = [this] { return shared_->workers == 0; };
  bool for_ever = deadline == Clock::time_point::max();
  if (for_ever) shared_->left.wait(lock, gone);
  bool all_left = for_ever || shared_->left.wait_until(lock, deadline, gone);
  dropped.swap(shared_->tasks);
  return all_left;
}

WorkQueue& WorkQueues::For(const std::string& device) {
  auto& queue = queues_[device];
  if (queue == nullptr) queue = std::make_unique<WorkQueue>("ai-" + device, workers_);
  return *queue;
}

void WorkQueues::Sweep(Clock::time_point now) {
  for (auto& [device, queue] : queues_) queue->Sweep(now);
}

void WorkQueues::Stop() {
  for (auto& [device, queue] : queues_) queue->Stop();
}

bool WorkQueues::Join(Clock::time_point deadline) {
  bool all_left = true;
  for (auto& [device, queue] : queues_) all_left = queue->Join(deadline) && all_left;
  return all_left;
}

}  // namespace penstock

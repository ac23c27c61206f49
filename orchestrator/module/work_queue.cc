#include "work_queue.h"

#include "threads.h"

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

std::optional<Clock::time_point> DeadlineIn(std::chrono::milliseconds time) {
  auto now = Clock::now();
  if (time > std::chrono::floor<std::chrono::milliseconds>(Clock::time_point::max() - now))
    return std::nullopt;
  return now + time;
}

WorkQueue::WorkQueue(std::string name, int workers) : shared_(std::make_shared<Shared>()) {
  shared_->workers = workers;
  for (int i = 0; i < workers; ++i) {
    // Detached: Join() counts the workers down, because std::thread has no join with a deadline.
    StartThread(name, [shared = shared_] {
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

}  // namespace penstock

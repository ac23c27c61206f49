#include "work_queue.h"

#include <algorithm>
#include <list>
#include <system_error>

#include "threads.h"

namespace penstock {

struct WorkQueue::Shared {
  std::string name;
  int wanted = 0;  // workers
  std::mutex mutex;
  std::condition_variable work;             // a task came, or stopping
  std::condition_variable left;             // a worker left
  std::deque<std::unique_ptr<Task>> tasks;  // guarded by mutex
  std::list<Clock::time_point> running;     // guarded by mutex: when each task that runs began
  int workers = 0;                          // guarded by mutex
  bool stopping = false;                    // guarded by mutex

  void Work();
};

namespace {

void Process(std::unique_ptr<Task> task) {
  if (!task->abandoned()) task->Run();
  Task& last = *task;
  last.Deliver(std::move(task));
}

bool TooLong(Clock::time_point began, Clock::time_point now) { return now - began > WorkQueue::kPatience; }

}  // namespace

void WorkQueue::Shared::Work() {
  std::unique_lock lock(mutex);
  bool needed = true;
  while (needed) {
    work.wait(lock, [&] { return stopping || !tasks.empty(); });
    if (stopping) break;
    auto task = std::move(tasks.front());
    tasks.pop_front();
    auto began = running.insert(running.end(), Clock::now());
    lock.unlock();
    Process(std::move(task));
    lock.lock();
    needed = workers <= wanted || !TooLong(*began, Clock::now());
    running.erase(began);
  }
  --workers;
  left.notify_all();
}

WorkQueue::WorkQueue(std::string name, int workers) : shared_(std::make_shared<Shared>()) {
  shared_->name = std::move(name);
  shared_->wanted = workers;
  std::lock_guard lock(shared_->mutex);
  for (int i = 0; i < workers; ++i) (void)StartWorker();
}

// Detached: Join() counts the workers down, because std::thread has no join with a deadline.
bool WorkQueue::StartWorker() {
  try {
    StartThread(shared_->name, [shared = shared_] { shared->Work(); });
  } catch (const std::system_error&) {
    return false;  // the system has no thread to give now; the next sweep asks again
  }
  ++shared_->workers;
  return true;
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

bool WorkQueue::Sweep(Clock::time_point now) {
  std::lock_guard lock(shared_->mutex);
  const std::list<Clock::time_point>& running = shared_->running;
  bool all_busy = static_cast<int>(running.size()) == shared_->workers;
  bool all_late =
      std::all_of(running.begin(), running.end(), [now](auto began) { return TooLong(began, now); });
  if (shared_->stopping || shared_->tasks.empty() || !all_busy || !all_late) return false;
  return shared_->workers < kMostWorkers && StartWorker();
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

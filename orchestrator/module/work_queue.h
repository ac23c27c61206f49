// Work for a thread of its own, such as loading: a queue and the threads that empty it.
//
// DESIGN
//   Threads: the main thread, and workers that finished a load, push; the queue's own workers pop. Idle
//   workers sleep on a condition variable and never wake by the clock. A task that takes very long holds up
//   the others only until Sweep() starts one more worker; whoever comes back from such a task leaves.
//   Ownership: the queue owns a Task until a worker takes it; the worker runs it and then hands it on by
//   Deliver(). Tasks that no worker takes any more, those pushed after Stop() among them, are destroyed by
//   the thread that joins. Ordering: first in, first out. Locks: one mutex per queue; no lock is held while a
//   task runs.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "clock.h"

namespace penstock {

class Task {
 public:
  virtual ~Task() = default;
  virtual void Run() = 0;
  /// Nobody waits for the answer any more: it is not run, only delivered.
  virtual bool abandoned() const { return false; }
  /// The last thing that happens to a task: hands it on to whoever answers.
  virtual void Deliver(std::unique_ptr<Task> self) = 0;
};

class WorkQueue {
 public:
  static constexpr std::chrono::seconds kPatience{5};
  static constexpr int kMostWorkers = 8;  // however many tasks never end
  /// `name` is what `top -H` shows.
  WorkQueue(std::string name, int workers);
  ~WorkQueue();
  void Push(std::unique_ptr<Task> task);
  /// Starts one more worker when tasks wait and all workers have been at theirs for longer than kPatience;
  /// true when it did.
  bool Sweep(Clock::time_point now);
  /// Wakes the workers; none takes another task. Idempotent; Join comes after.
  void Stop();
  /// True when every worker left before `deadline`; those that did not go on alone. Destroys what is queued.
  bool Join(Clock::time_point deadline);

 private:
  bool StartWorker();  // the caller holds the mutex
  struct Shared;       // outlives the queue for as long as a worker still uses it
  std::shared_ptr<Shared> shared_;
};

}  // namespace penstock

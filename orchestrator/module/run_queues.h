// All queues of runs: one per device, and the watch over their deadlines. The door that every run goes
// through.
//
// DESIGN
//   Submit parks a run with its executable until that is loaded, then puts it into its device's queue
//   (run_queue.h). A run is answered once, by whoever claims it first: the worker, the watch at the run's
//   deadline, or the refusal here. It counts in the executable's statistics before it is answered.
//   Threads: everything may be called by any thread, Stop and Join by one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "run.h"
#include "run_queue.h"
#include "watch.h"

namespace penstock {

class RunQueues {
 public:
  /// `load` is called, on the submitting thread, for an executable that nobody loads yet.
  RunQueues(QueueSettings settings, std::function<void(std::shared_ptr<Executable>)> load);
  ~RunQueues();
  RunQueues(const RunQueues&) = delete;
  RunQueues& operator=(const RunQueues&) = delete;
  void Submit(RunRequest request);
  /// The same for a run that has been made and checked.
  void Submit(RunPtr run);
  /// Nothing of any other waits or runs on its device.
  bool IsFreeFor(const Executable& executable);
  /// Does things at their time; lives as long as these.
  Watch& watch() { return *watch_; }
  /// Answers what was canceled while it waits behind something long.
  void Sweep();
  /// Cancels what runs; nothing more is begun. Idempotent; Join comes after.
  void Stop();
  /// True when every worker left before `deadline`; those that did not go on alone.
  bool Join(Clock::time_point deadline);

 private:
  /// The device's queue; another's where there are too many, or no thread for one more; null without any.
  RunQueue* For(const std::string& device);
  /// To be worked on without the lock: who is answered or canceled may submit.
  std::vector<RunQueue*> All();
  void WatchOver(const RunPtr& run);

  QueueSettings settings_;
  std::function<void(std::shared_ptr<Executable>)> load_;
  std::shared_ptr<Watch> watch_;
  std::mutex mutex_;
  bool stopped_ = false;                                     // guarded by mutex_
  std::map<std::string, std::unique_ptr<RunQueue>> queues_;  // guarded by mutex_
};

}  // namespace penstock

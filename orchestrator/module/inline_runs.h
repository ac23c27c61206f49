// Runs so short that the main thread does them itself: waking a worker would take longer.
//
// DESIGN
//   Only a model on the CPU without loops, loaded, with small inputs of shapes that are known to be short
//   (tiny.h; somewhat longer ones for a client that asks alone), and only while nothing of another model
//   waits or runs on its device, so that no other is overtaken. Runs of the same model may be under way at
//   workers; where the backend would have this one wait for them (OpenVINO), it goes to the workers too. All
//   of them together may take a bounded time in one turn of the event loop; what is more goes to the workers.
//   A model that batches and is asked by several clients in one turn is run once for all of them, at the
//   turn's end; a server that does not tell of its turns (Redis 6.2) runs each at once. Threads: the main one
//   only.
#pragma once

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "run_queues.h"

namespace penstock {

/// Does `work` and says how long that took this thread.
using Timed = std::function<Clock::duration(const std::function<void()>& work)>;
Clock::duration TimedByStopwatch(const std::function<void()>& work);

class InlineRuns {
 public:
  explicit InlineRuns(RunQueues* queues, Timed timed = TimedByStopwatch)
      : queues_(queues), timed_(std::move(timed)) {}
  enum class When { kNow, kAtTurnsEnd, kNever };
  /// When the main thread may do this run. `run` has been checked (Run::CheckRows).
  When MayRun(const Run& run);
  /// Runs it and calls `done`. False, and nothing was done, where the backend would have had to wait: then it
  /// belongs to the workers.
  bool TryRunNow(const RunPtr& run);
  void RunAtTurnsEnd(RunPtr run) { deferred_.push_back(std::move(run)); }
  /// The server is about to wait for events.
  void EndTurn();
  /// How many runs the main thread has done so far.
  int64_t count() const { return count_; }

 private:
  /// How many asked for one model in this turn, and in the one before.
  struct Crowd {
    uint64_t turn = 0;
    int now = 0;
    int before = 0;
  };
  bool Suits(const Run& run) const;
  bool HasTime();
  bool IsAlone(uint64_t client);
  bool IsCrowded(const Run& run);
  bool TryRunTogether(const std::vector<RunPtr>& members);
  void LeaveToWorkers(const std::vector<RunPtr>& members);
  void RunSingly(const std::vector<RunPtr>& members);
  std::vector<RunPtr> TakeTogether();

  RunQueues* queues_;
  Timed timed_;
  std::vector<RunPtr> deferred_;
  bool hears_turns_ = false;
  uint64_t turn_ = 1;
  Clock::time_point turn_began_;
  Clock::duration spent_{0};
  int64_t count_ = 0;
  uint64_t last_client_ = 0;
  int same_client_ = 0;  // so many runs in a row
  std::unordered_map<const Executable*, Crowd> crowds_;
};

}  // namespace penstock

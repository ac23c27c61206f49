// What waits for one model, and which of it shares a run.
//
// DESIGN
//   A Lane is the line of runs of one executable in a device's queue: first in, first out, but that a run
//   which fits joins the one at the head, past others that do not fit it. Two runs fit when their inputs have
//   the same types and the same dimensions but the first. Scripts, strings and arrays that stayed in a
//   backend are run alone. The queue's mutex guards its lanes; nothing here locks.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "run.h"
#include "watch.h"

namespace penstock {

/// A request on its way, shared by the queue, the worker and the watch.
struct Run {
  explicit Run(RunRequest asked);
  /// For a model that batches: every input must have the same first dimension.
  Status CheckRows();
  /// Answered already, or nobody wants the answer.
  bool dead() const { return claimed || request.cancellation->canceled(); }

  RunRequest request;
  Clock::time_point since;             // when it came
  int64_t rows = 0;                    // of a model that batches
  bool may_share = false;              // becomes false when a batch with it has failed
  std::optional<Watch::Handle> watch;  // over its deadline
  std::atomic<Clock::time_point> began_at{Clock::time_point()};  // when a worker took it; zero: not yet
  std::atomic<bool> claimed = false;                             // by the one who answers
};

using RunPtr = std::shared_ptr<Run>;

class Lane {
 public:
  void Push(RunPtr run) { waiting_.push_back(std::move(run)); }
  void PushFront(RunPtr run) { waiting_.push_front(std::move(run)); }
  bool empty() const { return waiting_.empty(); }
  size_t size() const { return waiting_.size(); }
  const Run& head() const { return *waiting_.front(); }
  /// Moves every dead run out.
  void TakeDead(std::vector<RunPtr>* dead);
  /// Moves the dead ones at the head out; after this it is empty or its head is alive.
  void TakeDeadHead(std::vector<RunPtr>* dead);
  /// When the head may run: at once, or when it has waited long enough for others. `patience` is how long
  /// that is when the model does not say.
  Clock::time_point ReadyAt(const Batching& batching, std::chrono::milliseconds patience) const;
  /// The head, with those that share its run.
  std::vector<RunPtr> Take(const Batching& batching);
  /// Rows of those that would share the head's run; counted until there are `enough`.
  int64_t RowsThatFit(int64_t enough) const;

 private:
  std::deque<RunPtr> waiting_;
};

int64_t RowsOf(const std::vector<RunPtr>& runs);

/// What has to be the same for runs to take the same time: types and dimensions, but the first where runs
/// batch.
uint64_t ShapeKey(const Run& run);
/// That, and about how many rows.
uint64_t KindOf(const Run& run);

/// Who is there to run what waits.
struct Staff {
  int workers = 1;
  int idle = 0;  // beside the one that takes now; 0 also where other models wait for them
};
/// How much of a lane one worker takes: as the executable batches, or less, where a shared run does not pay
/// or others wait for their share. The lane is not empty.
Batching Fitting(const Lane& lane, Executable& executable, Staff staff);

/// May share a run, by their inputs.
bool FitTogether(const Run& a, const Run& b);

}  // namespace penstock

// One walk over the steps of a DAG, in their order.
//
// DESIGN
//   Only models and scripts are run, each by its device's queue; tensors that are set are there before the
//   walk begins, and those that are read are looked up after it. A step's answer comes on a worker (or on
//   whichever thread knows first), which hands the next step over and is free: no thread waits for a DAG.
//   When a step is answered before its hand-over has returned, on whatever thread, the loop that handed it
//   over goes on, so a long DAG takes no deeper stack than a short one. What a step puts out stays with its
//   backend when one later step takes it, of the same backend and device; only one, because a program may
//   write to what it is given. What leaves the DAG, by AI.TENSORGET or PERSIST, is brought to the host there
//   and then, by the thread that has it, and widened unless its step says NATIVE. A slot is dropped with its
//   last use by a step. Threads: one at a time, each handing over to the next through the queue. Ownership:
//   whoever runs a step keeps the walk alive.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "dag.h"
#include "run.h"

namespace penstock {

/// A DAG and what it was given: all that needs a server has been done.
struct DagPlan {
  Dag dag;
  std::vector<RunArray> slots;   // those of LOAD and of AI.TENSORSET are filled
  std::vector<RunRequest> runs;  // for each step; of models and scripts all but the inputs, of kTag the model
};

class DagWalk : public std::enable_shared_from_this<DagWalk> {
 public:
  using Submit = std::function<void(RunRequest)>;
  /// Called once, on whatever thread was last; never when the server leaves first.
  using Done = std::function<void(std::shared_ptr<const DagWalk>)>;
  DagWalk(DagPlan plan, Submit submit, Done done);
  void Start() { Walk(); }

  // After `done`.
  const Dag& dag() const { return plan_.dag; }
  bool timed_out() const { return timed_out_; }
  /// Every step went well.
  bool ok() const;
  /// What became of a step; none: it was not run.
  const std::optional<Status>& outcome(size_t step) const { return outcomes_[step]; }
  /// Of the model that a kTag step names, as it was looked up with those that run.
  const std::string& tag(size_t step) const { return plan_.runs[step].executable->tag(); }
  /// What a slot that leaves the DAG holds.
  const TensorPtr& tensor(size_t slot) const { return leaving_[slot]; }

 private:
  enum class Turn { kHandingOver, kHandedOver, kAnswered };
  void Walk();
  bool HandOver(size_t step);
  void Take(size_t step, RunResult result);
  Status Place(size_t step, std::vector<RunArray>& outputs);
  RunArray TakeOut(size_t slot);
  bool StaysFor(size_t step, const std::vector<size_t>& takers) const;

  DagPlan plan_;
  Submit submit_;
  Done done_;
  std::vector<bool> leaves_;        // for each slot
  std::vector<size_t> takes_;       // for each slot: how often models and scripts are yet to take it
  std::vector<bool> stays_;         // for each step: an output, with its backend
  std::vector<TensorPtr> leaving_;  // for each slot that leaves, when it is there
  std::vector<std::optional<Status>> outcomes_;
  size_t next_ = 0;
  bool timed_out_ = false;
  std::atomic<Turn> turn_ = Turn::kHandedOver;
};

}  // namespace penstock

#include "dag_walk.h"

#include <algorithm>
#include <utility>

#include "widening.h"

namespace penstock {

DagWalk::DagWalk(DagPlan plan, Submit submit, Done done)
    : plan_(std::move(plan)),
      submit_(std::move(submit)),
      done_(std::move(done)),
      leaves_(plan_.dag.slots),
      takes_(plan_.dag.slots),
      leaving_(plan_.dag.slots),
      outcomes_(plan_.dag.steps.size()) {
  const auto& steps = plan_.dag.steps;
  for (const Dag::Persist& persist : plan_.dag.persist) leaves_[persist.slot] = true;
  std::vector<size_t> takers(plan_.dag.slots);
  for (size_t i = 0; i < steps.size(); ++i) {
    for (size_t slot : steps[i].inputs) {
      if (!steps[i].runs()) leaves_[slot] = true;
      takes_[slot] += steps[i].runs() ? 1 : 0;
      takers[slot] = steps[i].runs() ? i : takers[slot];
    }
  }
  for (size_t i = 0; i < leaves_.size(); ++i) {
    if (leaves_[i]) leaving_[i] = plan_.slots[i].tensor;
  }
  for (size_t i = 0; i < steps.size(); ++i) stays_.push_back(steps[i].runs() && StaysFor(i, takers));
}

bool DagWalk::ok() const {
  return !timed_out_ && std::all_of(outcomes_.begin(), outcomes_.end(),
                                    [](const auto& outcome) { return outcome && outcome->ok(); });
}

// Until a step has been handed over and not answered yet.
void DagWalk::Walk() {
  auto self = shared_from_this();
  const auto& steps = plan_.dag.steps;
  auto failed = [this] { return next_ > 0 && outcomes_[next_ - 1] && !outcomes_[next_ - 1]->ok(); };
  while (next_ < steps.size() && !timed_out_ && !failed()) {
    size_t step = next_++;
    if (!steps[step].runs()) {
      outcomes_[step] = Status::Ok();
    } else if (!HandOver(step)) {
      return;
    }
  }
  done_(std::move(self));
}

// True when the answer is there; else the thread that answers goes on.
bool DagWalk::HandOver(size_t step) {
  RunRequest request = std::move(plan_.runs[step]);
  request.native = true;
  request.keep = stays_[step];
  for (size_t slot : plan_.dag.steps[step].inputs) request.inputs.push_back(TakeOut(slot));
  request.done = [self = shared_from_this(), step](RunResult result) {
    self->Take(step, std::move(result));
    if (self->turn_.exchange(Turn::kAnswered) == Turn::kHandedOver) self->Walk();
  };
  turn_ = Turn::kHandingOver;
  submit_(std::move(request));
  return turn_.exchange(Turn::kHandedOver) == Turn::kAnswered;
}

// With its last use it is given away.
RunArray DagWalk::TakeOut(size_t slot) {
  RunArray& array = plan_.slots[slot];
  return --takes_[slot] == 0 ? std::exchange(array, {}) : array;
}

void DagWalk::Take(size_t step, RunResult result) {
  timed_out_ = result.timed_out;
  if (timed_out_) return;
  outcomes_[step] = result.status.ok() ? Place(step, result.outputs) : result.status;
}

Status DagWalk::Place(size_t step, std::vector<RunArray>& outputs) {
  const DagStep& from = plan_.dag.steps[step];
  for (size_t i = 0; i < outputs.size(); ++i) {
    size_t slot = from.outputs[i];
    bool stays = outputs[i].kept != nullptr && takes_[slot] == 1;
    if (leaves_[slot] || (takes_[slot] > 0 && !stays)) {
      auto here = outputs[i].ToHost();
      auto leaving = !here.ok() || !leaves_[slot] || from.run.native ? here : Widen(*here);
      if (!leaving.ok()) return leaving.status();
      if (leaves_[slot]) leaving_[slot] = *leaving;
      if (!stays) outputs[i] = {*here, nullptr};
    }
    if (takes_[slot] > 0) plan_.slots[slot] = std::move(outputs[i]);
  }
  return Status::Ok();
}

// One later step takes an output, where this one makes it.
bool DagWalk::StaysFor(size_t step, const std::vector<size_t>& takers) const {
  const Executable& here = *plan_.runs[step].executable;
  for (size_t slot : plan_.dag.steps[step].outputs) {
    if (takes_[slot] != 1) continue;
    const Executable& there = *plan_.runs[takers[slot]].executable;
    if (there.backend() == here.backend() && there.device() == here.device()) return true;
  }
  return false;
}

}  // namespace penstock

#include "inline_runs.h"

#include <algorithm>

#include "running.h"

namespace penstock {
namespace {

constexpr size_t kMostBytes = 64 * 1024;
constexpr std::chrono::microseconds kPerTurn{300};
constexpr std::chrono::milliseconds kTurn{1};  // where the server does not tell of its turns

size_t InputBytes(const Run& run) {
  size_t bytes = 0;
  for (const RunArray& input : run.request.inputs) bytes += input.tensor->bytes().size();
  return bytes;
}

bool AllOnHost(const Run& run) {
  return std::all_of(run.request.inputs.begin(), run.request.inputs.end(),
                     [](const RunArray& input) { return input.tensor != nullptr; });
}

}  // namespace

Clock::duration TimedByStopwatch(const std::function<void()>& work) {
  Stopwatch stopwatch;
  work();
  return stopwatch.taken();
}

bool InlineRuns::Suits(const Run& run) const {
  const RunRequest& request = run.request;
  if (!request.function.empty() || request.executable->device().rfind("CPU", 0) != 0) return false;
  if (request.executable->batching().at_least > 1) return false;
  ProgramPtr program = request.executable->program();
  return program != nullptr && program->StraightLine() && AllOnHost(run) && InputBytes(run) <= kMostBytes;
}

bool InlineRuns::HasTime() {
  if (!hears_turns_ && Clock::now() - turn_began_ > kTurn) {
    turn_began_ = Clock::now();
    spent_ = Clock::duration::zero();
  }
  return spent_ < kPerTurn;
}

// All the last runs, long ones too, were this client's.
bool InlineRuns::IsAlone(uint64_t client) {
  constexpr int kRunsToShow = 16;
  bool same = client == last_client_ && client != 0;
  same_client_ = same ? std::min(same_client_ + 1, kRunsToShow) : 0;
  last_client_ = client;
  return same_client_ == kRunsToShow;
}

// Several ask in one turn, or did in the last: the rest of this turn's may well share a run.
bool InlineRuns::IsCrowded(const Run& run) {
  if (!hears_turns_ || !run.may_share) return false;
  constexpr size_t kMostCrowds = 256;
  if (crowds_.size() > kMostCrowds) crowds_.clear();
  Crowd& crowd = crowds_[run.request.executable.get()];
  if (crowd.turn != turn_) {
    crowd.before = crowd.turn + 1 == turn_ ? crowd.now : 0;
    crowd.now = 0;
    crowd.turn = turn_;
  }
  ++crowd.now;
  return crowd.now > 1 || crowd.before > 1;
}

InlineRuns::When InlineRuns::MayRun(const Run& run) {
  bool alone = IsAlone(run.request.client);
  if (!Suits(run) || !HasTime()) return When::kNever;
  bool known = run.request.executable->tiny().MayRunHere(ShapeKey(run), run.rows, Clock::now(), alone);
  if (!known || !queues_->IsFreeFor(*run.request.executable)) return When::kNever;
  return IsCrowded(run) ? When::kAtTurnsEnd : When::kNow;
}

bool InlineRuns::TryRunNow(const RunPtr& run) { return TryRunTogether({run}); }

bool InlineRuns::TryRunTogether(const std::vector<RunPtr>& members) {
  for (const RunPtr& run : members) run->began_at = Clock::now();
  Outcome outcome;
  auto taken = timed_([&] { outcome = RunTogetherNow(members); });
  if (outcome.busy) {
    for (const RunPtr& run : members) run->began_at = Clock::time_point();
    return false;
  }
  members[0]->request.executable->tiny().MeasuredHere(ShapeKey(*members[0]), RowsOf(members), taken,
                                                      Clock::now());
  spent_ += taken;
  if (!outcome.status.ok() && members.size() > 1) {
    if (outcome.wrong_rows) members[0]->request.executable->StopSharing();
    RunSingly(members);
    return true;
  }
  count_ += static_cast<int64_t>(members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    RunResult result{outcome.status, false, {}};
    if (outcome.status.ok()) result.outputs = std::move(outcome.members[i]);
    Answer(*members[i], std::move(result));
  }
  return true;
}

// A worker's run is in the way.
void InlineRuns::LeaveToWorkers(const std::vector<RunPtr>& members) {
  for (const RunPtr& run : members) queues_->Submit(run);
}

// By the workers: errors are not short.
void InlineRuns::RunSingly(const std::vector<RunPtr>& members) {
  for (const RunPtr& run : members) {
    run->began_at = Clock::time_point();
    run->may_share = false;
    queues_->Submit(run);
  }
}

// The first of those deferred, with what fits it, as many as are known to be short together.
std::vector<RunPtr> InlineRuns::TakeTogether() {
  const RunPtr head = deferred_.front();
  Executable& executable = *head->request.executable;
  uint64_t shape = ShapeKey(*head);
  std::vector<RunPtr> together;
  int64_t rows = 0;
  auto now = Clock::now();
  for (RunPtr& run : deferred_) {
    bool joins = run == head || (run->request.executable == head->request.executable &&
                                 FitTogether(*head, *run) && rows + run->rows <= executable.batching().size &&
                                 executable.tiny().MayRunHere(shape, rows + run->rows, now));
    if (!joins) continue;
    rows += run->rows;
    together.push_back(std::move(run));
  }
  std::erase(deferred_, nullptr);
  return together;
}

void InlineRuns::EndTurn() {
  hears_turns_ = true;
  while (!deferred_.empty() && HasTime()) {
    std::vector<RunPtr> together = TakeTogether();
    if (!TryRunTogether(together)) LeaveToWorkers(together);
  }
  for (RunPtr& run : deferred_) queues_->Submit(std::move(run));
  deferred_.clear();
  ++turn_;
  spent_ = Clock::duration::zero();
}

}  // namespace penstock

#include "batch.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace penstock {
namespace {

// How far Take looks past what does not fit the head, so that a long line of other shapes costs little.
constexpr size_t kLongestLook = 256;

struct Shape {
  DataType type;
  const int64_t* dims;
  size_t rank;
};

Shape ShapeOf(const RunArray& array) {
  if (array.tensor != nullptr)
    return {array.tensor->type(), array.tensor->dims().data(), array.tensor->dims().size()};
  backend::TensorView view = array.kept->view();
  return {view.type, view.dims, view.rank};
}

bool SameButRows(const Shape& a, const Shape& b) {
  return a.type == b.type && a.rank == b.rank && std::equal(a.dims + 1, a.dims + a.rank, b.dims + 1);
}

bool CanBeJoined(const RunArray& input) {
  return input.tensor != nullptr && input.tensor->type() != DataType::kString;
}

// All rows, where a part of them would not be work enough to wake another.
int64_t ShareOf(int64_t rows, int workers, Clock::duration row_time) {
  constexpr std::chrono::microseconds kWorthWaking{50};
  int64_t share = rows / workers + (rows % workers != 0 ? 1 : 0);
  bool worth = share >= kWorthWaking / std::max(row_time, Clock::duration(1));
  return worth ? share : rows;
}

}  // namespace

Run::Run(RunRequest asked) : request(std::move(asked)), since(Clock::now()) {
  if (request.cancellation == nullptr) request.cancellation = std::make_shared<Cancellation>();
}

Status Run::CheckRows() {
  if (request.executable->batching().size <= 1 || request.inputs.empty()) return Status::Ok();
  for (const RunArray& input : request.inputs) {
    if (ShapeOf(input).rank == 0)
      return Status::Error("a scalar cannot be an input of a model that was stored with BATCHSIZE");
  }
  rows = ShapeOf(request.inputs[0]).dims[0];
  bool same = std::all_of(request.inputs.begin(), request.inputs.end(),
                          [this](const RunArray& input) { return ShapeOf(input).dims[0] == rows; });
  if (!same)
    return Status::Error(
        "the inputs of a model that was stored with BATCHSIZE must have the same first dimension");
  may_share = rows > 0 && request.executable->shares() &&
              std::all_of(request.inputs.begin(), request.inputs.end(), CanBeJoined);
  return Status::Ok();
}

int64_t RowsOf(const std::vector<RunPtr>& runs) {
  return std::accumulate(runs.begin(), runs.end(), int64_t{0},
                         [](int64_t sum, const RunPtr& run) { return sum + run->rows; });
}

bool FitTogether(const Run& a, const Run& b) {
  bool may = a.may_share && b.may_share && a.request.inputs.size() == b.request.inputs.size() &&
             a.request.output_count == b.request.output_count && a.request.native == b.request.native;
  for (size_t i = 0; may && i < a.request.inputs.size(); ++i)
    may = SameButRows(ShapeOf(a.request.inputs[i]), ShapeOf(b.request.inputs[i]));
  return may;
}

uint64_t ShapeKey(const Run& run) {
  uint64_t key = 14695981039346656037u;  // FNV-1a, by words
  auto mix = [&key](uint64_t word) { key = (key ^ word) * 1099511628211u; };
  for (const RunArray& input : run.request.inputs) {
    if (input.tensor == nullptr) return 0;
    const auto& dims = input.tensor->dims();
    mix(static_cast<uint64_t>(input.tensor->type()));
    mix(dims.size());
    for (size_t i = run.rows > 0 ? 1 : 0; i < dims.size(); ++i) mix(static_cast<uint64_t>(dims[i]));
  }
  return key;
}

uint64_t KindOf(const Run& run) {
  constexpr int kWidths = 65;
  return ShapeKey(run) * kWidths + static_cast<uint64_t>(std::bit_width(static_cast<uint64_t>(run.rows)));
}

Batching Fitting(const Lane& lane, Executable& executable, Staff staff) {
  Batching batching = executable.batching();
  const Run& head = lane.head();
  if (batching.size <= 1 || !head.may_share || lane.size() == 1) return batching;
  RowTimes& times = executable.row_times();
  bool asked_for = batching.at_least > 1;
  if (!asked_for && !times.SharingPays(KindOf(head), staff.workers)) {
    batching.size = 1;
  } else if (staff.idle > 0) {
    int64_t rows = std::min(lane.RowsThatFit(batching.size), batching.size);
    int64_t share = ShareOf(rows, staff.idle + 1, times.RowTime(KindOf(head)));
    batching.size = std::min(batching.size, std::max(share, batching.at_least));
  }
  return batching;
}

void Lane::TakeDead(std::vector<RunPtr>* dead) {
  for (RunPtr& run : waiting_) {
    if (run->dead()) dead->push_back(std::move(run));
  }
  std::erase(waiting_, nullptr);
}

void Lane::TakeDeadHead(std::vector<RunPtr>* dead) {
  while (!waiting_.empty() && waiting_.front()->dead()) {
    dead->push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

int64_t Lane::RowsThatFit(int64_t enough) const {
  int64_t rows = 0;
  size_t passed = 0;
  for (const RunPtr& run : waiting_) {
    bool fits = !run->dead() && (run == waiting_.front() || FitTogether(*waiting_.front(), *run));
    rows += fits ? run->rows : 0;
    passed += fits ? 0 : 1;
    if (rows >= enough || passed == kLongestLook) break;
  }
  return rows;
}

Clock::time_point Lane::ReadyAt(const Batching& batching, std::chrono::milliseconds patience) const {
  const Run& head = *waiting_.front();
  bool waits = head.may_share && batching.size > 1 && batching.at_least > 1;
  if (!waits || RowsThatFit(batching.at_least) >= batching.at_least) return head.since;
  auto wait = batching.wait.count() > 0 ? batching.wait : patience;
  bool beyond = wait > std::chrono::floor<std::chrono::milliseconds>(Clock::time_point::max() - head.since);
  return beyond ? Clock::time_point::max() : head.since + wait;
}

std::vector<RunPtr> Lane::Take(const Batching& batching) {
  std::vector<RunPtr> taken{std::move(waiting_.front())};
  waiting_.pop_front();
  const Run& head = *taken[0];
  if (!head.may_share || batching.size <= 1) return taken;
  int64_t rows = head.rows;
  std::deque<RunPtr> passed;
  while (passed.size() < kLongestLook && !waiting_.empty() && rows < batching.size) {
    RunPtr run = std::move(waiting_.front());
    waiting_.pop_front();
    bool joins = run->rows <= batching.size - rows && !run->dead() && FitTogether(head, *run);
    if (joins) {
      rows += run->rows;
      taken.push_back(std::move(run));
    } else {
      passed.push_back(std::move(run));
    }
  }
  while (!passed.empty()) {
    waiting_.push_front(std::move(passed.back()));
    passed.pop_back();
  }
  return taken;
}

}  // namespace penstock

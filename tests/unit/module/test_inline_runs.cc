#include <thread>

#include "inline_runs.h"
#include "runs.h"

using namespace penstock;
using namespace penstock::test;
using std::chrono::microseconds;
using std::chrono::seconds;
using When = InlineRuns::When;

namespace {

const Clock::time_point kNow = Clock::now();
constexpr uint64_t kShape = 7;

// What workers have shown to be short, so many times.
struct Shown : TinyRuns {
  explicit Shown(int64_t rows, int runs = kRunsToKnow) {
    for (int i = 0; i < runs; ++i) Measured(kShape, rows, microseconds(5));
  }
};

void OnlyWhatWasMeasuredOftenEnoughIsKnown() {
  CHECK(!Shown(1, TinyRuns::kRunsToKnow - 1).MayRunHere(kShape, 1, kNow));
  CHECK(Shown(1).MayRunHere(kShape, 1, kNow));
  CHECK(!Shown(1).MayRunHere(kShape + 1, 1, kNow));
  Shown tiny(1);
  tiny.Measured(kShape, 1, microseconds(51));
  CHECK(!tiny.MayRunHere(kShape, 1, kNow));
}

void FewerRowsAreKnownTooAndTwiceAsManyMayBeTried() {
  Shown tiny(8);
  for (int64_t rows : {1, 7, 8, 9, 16}) CHECK(tiny.MayRunHere(kShape, rows, kNow));
  for (int64_t rows : {17, 1000, 1 << 20}) CHECK(!tiny.MayRunHere(kShape, rows, kNow));
  tiny.Measured(kShape, 8, microseconds(40));  // twice that would be too long
  CHECK(tiny.MayRunHere(kShape, 8, kNow));
  CHECK(!tiny.MayRunHere(kShape, 16, kNow));
}

void LongRunsOnTheMainThreadEndTheTrustForAWhile() {
  Shown tiny(1);
  for (int i = 0; i < 3; ++i) tiny.MeasuredHere(kShape, 1, microseconds(350), kNow);  // cold caches
  CHECK(tiny.MayRunHere(kShape, 1, kNow));
  for (int i = 0; i < 20; ++i) tiny.MeasuredHere(kShape, 1, microseconds(5), kNow);  // pay the debt back
  for (int i = 0; i < 100; ++i) tiny.MeasuredHere(kShape, 1, microseconds(60), kNow);
  CHECK(tiny.MayRunHere(kShape, 1, kNow));
  for (int i = 0; i < 10; ++i) tiny.MeasuredHere(kShape, 1, microseconds(60), kNow);
  CHECK(!tiny.MayRunHere(kShape, 1, kNow));
  for (int i = 0; i < TinyRuns::kRunsToKnow; ++i) tiny.Measured(kShape, 1, microseconds(5));
  CHECK(!tiny.MayRunHere(kShape, 1, kNow + std::chrono::milliseconds(900)));
  CHECK(tiny.MayRunHere(kShape, 1, kNow + seconds(1)));
  tiny.MeasuredHere(kShape, 1, microseconds(1100), kNow + seconds(1));  // at once, and for longer
  for (int i = 0; i < TinyRuns::kRunsToKnow; ++i) tiny.Measured(kShape, 1, microseconds(5));
  CHECK(!tiny.MayRunHere(kShape, 1, kNow + std::chrono::milliseconds(2900)));
  CHECK(tiny.MayRunHere(kShape, 1, kNow + seconds(3)));
}

void WhatIsTooLongForManyRowsStaysShortForFew() {
  Shown tiny(4);
  tiny.MeasuredHere(kShape, 8, microseconds(1100), kNow);
  CHECK(tiny.MayRunHere(kShape, 4, kNow));
  CHECK(!tiny.MayRunHere(kShape, 8, kNow));
  tiny.MeasuredHere(kShape, 4, microseconds(1100), kNow);  // two rows have not been measured, but four have
  CHECK(tiny.MayRunHere(kShape, 2, kNow));
  CHECK(!tiny.MayRunHere(kShape, 4, kNow));
}

// It may be the lock of a run that takes for ever.
void AThreadThatSleptHasTakenThatLong() {
  Stopwatch stopwatch;
  std::this_thread::sleep_for(2 * ShortRuns::kMostDebt);
  CHECK(stopwatch.taken() >= 2 * ShortRuns::kMostDebt);
}

void ShapesInUseAreRemembered() {
  Shown tiny(1);
  for (uint64_t other = kShape + 1; other < kShape + 100; ++other) {
    tiny.Measured(other, 1, microseconds(5));
    tiny.Measured(kShape, 1, microseconds(5));
  }
  CHECK(tiny.MayRunHere(kShape, 1, kNow));
}

// A model that is known to be short with any input that a test gives it.
ModelPtr Short(Batching batching = {}, Body body = AddOne, Busy busy = nullptr) {
  auto model = Model(std::move(body), batching, std::move(busy));
  (void)model->Settle();
  return model;
}

RunPtr Checked(ModelPtr model, TensorPtr input, std::function<void(RunResult)> done) {
  auto run = std::make_shared<Run>(Request(std::move(model), {std::move(input)}, std::move(done)));
  CHECK(run->CheckRows().ok());
  return run;
}

void Show(const Run& run) {
  for (int i = 0; i < TinyRuns::kRunsToKnow; ++i)
    run.request.executable->tiny().Measured(ShapeKey(run), run.rows, microseconds(5));
}

// Every run takes so long, however slow this machine is just now.
Timed Taking(microseconds each) {
  return [each](const std::function<void()>& work) {
    work();
    return each;
  };
}

const Timed kShort = Taking(microseconds(5));

void AShortRunIsDoneAtOnceWhileNothingElseRuns() {
  Answers answers;
  Gate gate;
  RunQueues queues({}, LoadHere);
  InlineRuns inline_runs(&queues, kShort);
  auto run = Checked(Short(), Floats({2}, 1), answers.Slot(0));
  CHECK(inline_runs.MayRun(*run) == When::kNever);  // nobody has measured it
  Show(*run);
  CHECK(inline_runs.MayRun(*run) == When::kNow);
  inline_runs.TryRunNow(run);
  CHECK_EQUAL(answers.count(), 1u);
  CHECK_EQUAL(First(answers.Wait(1)[0].second), 2.0f);
  CHECK_EQUAL(run->request.executable->stats().calls.load(), 1);
  CHECK_EQUAL(inline_runs.count(), 1);
  auto holder = Model([&gate](const backend::Call& call, backend::Sink& out) {
    gate.Pass();
    AddOne(call, out);
  });
  queues.Submit(Request(holder, {Floats({1}, 0)}, answers.Slot(1)));
  gate.WaitFor(1);
  CHECK(inline_runs.MayRun(*run) == When::kNever);
  gate.Open();
  answers.Wait(2);
  CHECK(inline_runs.MayRun(*run) == When::kNow);
}

void WhatWouldWaitInTheBackendIsNotBegun() {
  Answers answers;
  RunQueues queues({}, LoadHere);
  InlineRuns inline_runs(&queues, kShort);
  auto run = Checked(Short({}, AddOne, [] { return true; }), Floats({2}, 1), answers.Slot(0));
  Show(*run);
  CHECK(inline_runs.MayRun(*run) == When::kNow);
  CHECK(!inline_runs.TryRunNow(run));
  CHECK_EQUAL(answers.count(), 0u);
  CHECK_EQUAL(inline_runs.count(), 0);
  CHECK(run->began_at.load() == Clock::time_point());
  CHECK_EQUAL(run->request.executable->stats().calls.load(), 0);
  queues.Submit(run);
  CHECK_EQUAL(First(answers.Wait(1)[0].second), 2.0f);
}

void WhatWouldWaitAtTheTurnsEndGoesToTheWorkers() {
  Answers answers;
  RunQueues queues({}, LoadHere);
  InlineRuns inline_runs(&queues, kShort);
  auto run = Checked(Short({8}, AddOne, [] { return true; }), Floats({2}, 1), answers.Slot(0));
  Show(*run);
  inline_runs.RunAtTurnsEnd(run);
  inline_runs.EndTurn();
  CHECK_EQUAL(First(answers.Wait(1)[0].second), 2.0f);
}

void WhatDoesNotSuitGoesToTheWorkers() {
  Answers answers;
  RunQueues queues({}, LoadHere);
  InlineRuns inline_runs(&queues, kShort);
  auto refuses = [&](const RunPtr& run) {
    Show(*run);
    return inline_runs.MayRun(*run) == When::kNever;
  };
  CHECK(refuses(Checked(Short(), Floats({100'000}, 1), answers.Slot(0))));
  CHECK(refuses(Checked(Short({8, 2}), Floats({1}, 1), answers.Slot(0))));  // waits for others
  CHECK(refuses(Checked(Model(AddOne), Floats({1}, 1), answers.Slot(0))));  // not loaded
  auto script = Checked(Short(), Floats({1}, 1), answers.Slot(0));
  script->request.function = "f";
  CHECK(refuses(script));
}

void SeveralInOneTurnShareARunAtItsEnd() {
  Answers answers;
  std::vector<int64_t> rows;
  RunQueues queues({}, LoadHere);
  InlineRuns inline_runs(&queues, kShort);
  auto noting = [&rows](const backend::Call& call, backend::Sink& out) {
    rows.push_back(call.inputs[0].dims[0]);
    AddOne(call, out);
  };
  auto model = Short({8}, noting);
  Show(*Checked(model, Floats({8}, 0), answers.Slot(0)));
  inline_runs.EndTurn();
  for (int turn = 0; turn < 2; ++turn) {
    for (int i = 0; i < 3; ++i) {
      auto run = Checked(model, Floats({1}, static_cast<float>(i)), answers.Slot(3 * turn + i));
      When when = inline_runs.MayRun(*run);
      CHECK(when == (turn == 0 && i == 0 ? When::kNow : When::kAtTurnsEnd));
      if (when == When::kNow) inline_runs.TryRunNow(run);
      if (when == When::kAtTurnsEnd) inline_runs.RunAtTurnsEnd(run);
    }
    inline_runs.EndTurn();
    CHECK_EQUAL(answers.count(), static_cast<size_t>(3 * turn + 3));
  }
  CHECK(rows == std::vector<int64_t>({1, 2, 3}));
  CHECK_EQUAL(inline_runs.count(), 6);
  for (auto& [number, result] : answers.Wait(6))
    CHECK_EQUAL(First(result), static_cast<float>(number % 3 + 1));
  inline_runs.EndTurn();  // a turn without anybody
  CHECK(inline_runs.MayRun(*Checked(model, Floats({1}, 0), answers.Slot(9))) == When::kNow);
}

void WhoAsksAloneMayHoldTheMainThreadForLonger() {
  Answers answers;
  RunQueues queues({}, LoadHere);
  InlineRuns inline_runs(&queues, Taking(microseconds(80)));
  auto model = Short();
  auto asked = [&](uint64_t client) {
    auto run = Checked(model, Floats({2}, 1), answers.Slot(0));
    run->request.client = client;
    return inline_runs.MayRun(*run);
  };
  for (int i = 0; i < TinyRuns::kRunsToKnow; ++i)
    model->tiny().Measured(ShapeKey(*Checked(model, Floats({2}, 1), answers.Slot(0))), 0, microseconds(80));
  for (int i = 0; i < 20; ++i) CHECK(asked(0) == When::kNever);
  for (int i = 0; i < 20; ++i) CHECK(asked(1 + i % 2) == When::kNever);
  for (int i = 0; i < 16; ++i) CHECK(asked(3) == When::kNever);
  CHECK(asked(3) == When::kNow);
  CHECK(asked(4) == When::kNever);  // another is here
  CHECK(asked(3) == When::kNever);
}

void TheMainThreadHasSoMuchTimeInATurnAndNoMore() {
  Answers answers;
  RunQueues queues({}, LoadHere);
  InlineRuns inline_runs(&queues, Taking(microseconds(400)));
  auto run = Checked(Short(), Floats({1}, 0), answers.Slot(0));
  auto other = Checked(Short(), Floats({1}, 0), answers.Slot(1));
  Show(*run);
  Show(*other);
  inline_runs.EndTurn();
  CHECK(inline_runs.MayRun(*run) == When::kNow);
  inline_runs.TryRunNow(run);
  CHECK(inline_runs.MayRun(*other) == When::kNever);
  inline_runs.EndTurn();
  CHECK(inline_runs.MayRun(*other) == When::kNow);
}

void ABadOneAtTheTurnsEndFailsAlone() {
  Answers answers;
  RunQueues queues({}, LoadHere);
  InlineRuns inline_runs(&queues, kShort);
  auto picky = [](const backend::Call& call, backend::Sink& out) {
    auto* values = static_cast<float*>(call.inputs[0].data);
    for (size_t k = 0; k < call.inputs[0].size / sizeof(float); ++k)
      if (values[k] < 0) return out.Error({"negative", 8});
    AddOne(call, out);
  };
  auto model = Short({8}, picky);
  Show(*Checked(model, Floats({8}, 0), answers.Slot(0)));
  for (int i = 0; i < 3; ++i)
    inline_runs.RunAtTurnsEnd(Checked(model, Floats({1}, i == 1 ? -5.0f : 1.0f), answers.Slot(i)));
  inline_runs.EndTurn();
  for (auto& [number, result] : answers.Wait(3)) CHECK_EQUAL(Text(result), number == 1 ? "negative" : "ok");
}

}  // namespace

int main() {
  ShapesInUseAreRemembered();
  AThreadThatSleptHasTakenThatLong();
  OnlyWhatWasMeasuredOftenEnoughIsKnown();
  FewerRowsAreKnownTooAndTwiceAsManyMayBeTried();
  LongRunsOnTheMainThreadEndTheTrustForAWhile();
  WhatIsTooLongForManyRowsStaysShortForFew();
  AShortRunIsDoneAtOnceWhileNothingElseRuns();
  WhatWouldWaitInTheBackendIsNotBegun();
  WhatWouldWaitAtTheTurnsEndGoesToTheWorkers();
  WhatDoesNotSuitGoesToTheWorkers();
  SeveralInOneTurnShareARunAtItsEnd();
  WhoAsksAloneMayHoldTheMainThreadForLonger();
  TheMainThreadHasSoMuchTimeInATurnAndNoMore();
  ABadOneAtTheTurnsEndFailsAlone();
  return Report();
}

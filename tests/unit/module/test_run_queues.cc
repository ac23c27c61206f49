#include <filesystem>
#include <random>

#include "runs.h"

using namespace penstock;
using namespace penstock::test;
using std::chrono::milliseconds;

namespace {

RunQueues Queues(QueueSettings settings = {}) { return RunQueues(std::move(settings), LoadHere); }

// Keeps a worker busy until the gate opens, so that what comes meanwhile waits.
ModelPtr Holder(Gate* gate) {
  return Model([gate](const backend::Call& call, backend::Sink& out) {
    gate->Pass();
    AddOne(call, out);
  });
}

// Adds one, and notes how many rows each run had.
struct Recorder {
  std::mutex mutex;
  std::vector<int64_t> rows;
  Body body() {
    return [this](const backend::Call& call, backend::Sink& out) {
      {
        std::lock_guard lock(mutex);
        rows.push_back(call.inputs[0].dims[0]);
      }
      AddOne(call, out);
    };
  }
};

void ARunIsAnsweredWithItsOutputsAndCounted() {
  Answers answers;
  RunQueues queues = Queues();
  auto model = Model(AddOne);
  queues.Submit(Request(model, {Floats({2, 3}, 5)}, answers.Slot(0)));
  auto came = answers.Wait(1);
  CHECK_EQUAL(Text(came[0].second), "ok");
  CHECK_EQUAL(First(came[0].second), 6.0f);
  CHECK(came[0].second.outputs[0].tensor->dims() == std::vector<int64_t>({2, 3}));
  CHECK_EQUAL(model->stats().calls.load(), 1);
  CHECK_EQUAL(model->stats().samples.load(), 2);
}

void WhatWaitsForOneModelSharesARun() {
  Answers answers;
  Gate gate;
  Recorder recorder;
  RunQueues queues = Queues();
  auto model = Model(recorder.body(), {8});
  queues.Submit(Request(Holder(&gate), {Floats({1}, 0)}, answers.Slot(-1)));
  gate.WaitFor(1);
  for (int i = 0; i < 5; ++i)
    queues.Submit(Request(model, {Floats({i == 4 ? 4 : 1, 2}, static_cast<float>(10 * i))}, answers.Slot(i)));
  gate.Open();
  for (auto& [number, result] : answers.Wait(6)) {
    if (number < 0) continue;
    CHECK_EQUAL(First(result), static_cast<float>(10 * number + 1));
    CHECK_EQUAL(result.outputs[0].tensor->dims()[0], number == 4 ? 4 : 1);
  }
  CHECK(recorder.rows == std::vector<int64_t>({8}));
  CHECK_EQUAL(model->stats().calls.load(), 5);
  CHECK_EQUAL(model->stats().samples.load(), 8);
}

void OtherShapesGoIntoTheNextBatch() {
  Answers answers;
  Gate gate;
  Recorder recorder;
  RunQueues queues = Queues();
  auto model = Model(recorder.body(), {4});
  queues.Submit(Request(Holder(&gate), {Floats({1}, 0)}, answers.Slot(-1)));
  gate.WaitFor(1);
  for (int i = 0; i < 6; ++i)
    queues.Submit(Request(model, {Floats({1, i % 2 == 0 ? 2 : 3}, static_cast<float>(i))}, answers.Slot(i)));
  queues.Submit(Request(model, {Floats({9, 2}, 6)}, answers.Slot(6)));  // larger than a batch: alone
  gate.Open();
  for (auto& [number, result] : answers.Wait(8)) {
    if (number >= 0) CHECK_EQUAL(First(result), static_cast<float>(number + 1));
  }
  CHECK(recorder.rows == std::vector<int64_t>({3, 3, 9}));
}

void ABadRequestFailsAlone() {
  Answers answers;
  Gate gate;
  RunQueues queues = Queues();
  auto picky = [](const backend::Call& call, backend::Sink& out) {
    auto* values = static_cast<float*>(call.inputs[0].data);
    for (size_t k = 0; k < call.inputs[0].size / sizeof(float); ++k) {
      if (values[k] < 0) return out.Error({"negative", 8});
    }
    AddOne(call, out);
  };
  auto model = Model(picky, {8});
  queues.Submit(Request(Holder(&gate), {Floats({1}, 0)}, answers.Slot(-1)));
  gate.WaitFor(1);
  for (int i = 0; i < 4; ++i)
    queues.Submit(Request(model, {Floats({1}, i == 2 ? -7.0f : static_cast<float>(i))}, answers.Slot(i)));
  gate.Open();
  for (auto& [number, result] : answers.Wait(5)) {
    if (number >= 0) CHECK_EQUAL(Text(result), number == 2 ? "negative" : "ok");
  }
  CHECK_EQUAL(model->stats().calls.load(), 4);
  CHECK_EQUAL(model->stats().errors.load(), 1);
}

void InputsWithoutACommonFirstDimensionAreRefused() {
  Answers answers;
  RunQueues queues = Queues();
  auto model = Model(AddOne, {8});
  queues.Submit(Request(model, {Floats({}, 0)}, answers.Slot(0)));
  queues.Submit(Request(model, {Floats({2, 1}, 0), Floats({3, 1}, 0)}, answers.Slot(1)));
  queues.Submit(Request(model, {Floats({2, 1}, 0), Floats({2}, 0)}, answers.Slot(2)));
  for (auto& [number, result] : answers.Wait(3)) CHECK_EQUAL(result.status.ok(), number == 2);
}

constexpr char kWrongRows[] = "Model did not generate the expected batch size";

void OutputsThatAreNoBatchAreRefusedHoweverManyShareTheRun() {
  Answers answers;
  Gate gate;
  std::atomic<int> runs = 0;
  RunQueues queues = Queues();
  auto sums = [&runs](const backend::Call& call, backend::Sink& out) {
    ++runs;
    int64_t rows = call.inputs[0].dims[0] > 1 ? 0 : 1;
    out.Tensor({DataType::kFloat, &rows, 1, call.inputs[0].data, sizeof(float) * static_cast<size_t>(rows)});
  };
  auto model = Model(sums, {8});
  queues.Submit(Request(Holder(&gate), {Floats({1}, 0)}, answers.Slot(-1)));
  gate.WaitFor(1);
  queues.Submit(Request(model, {Floats({1}, 1)}, answers.Slot(0)));
  queues.Submit(Request(model, {Floats({2}, 1)}, answers.Slot(1)));
  gate.Open();
  for (auto& [number, result] : answers.Wait(3)) {
    if (number >= 0) CHECK_EQUAL(Text(result), number == 0 ? "ok" : kWrongRows);
  }
  CHECK_EQUAL(runs.load(), 3);
  CHECK(!model->shares());
}

void ALeastBatchIsWaitedForButNotForEver() {
  Answers answers;
  Recorder recorder;
  QueueSettings settings;
  settings.patience = milliseconds(5);
  RunQueues queues = Queues(settings);
  auto patient = Model(recorder.body(), {8, 3, std::chrono::hours(1)});
  queues.Submit(Request(patient, {Floats({1}, 0)}, answers.Slot(0)));
  queues.Submit(Request(patient, {Floats({1}, 1)}, answers.Slot(1)));
  queues.Submit(Request(patient, {Floats({1}, 2)}, answers.Slot(2)));
  answers.Wait(3);
  CHECK(recorder.rows == std::vector<int64_t>({3}));
  queues.Submit(Request(Model(recorder.body(), {8, 3, milliseconds(1)}), {Floats({1}, 0)}, answers.Slot(3)));
  queues.Submit(Request(Model(recorder.body(), {8, 3}), {Floats({1}, 0)}, answers.Slot(4)));
  for (auto& [number, result] : answers.Wait(5)) CHECK_EQUAL(Text(result), "ok");
}

RunPtr Waiting(const ModelPtr& model, int64_t rows) {
  auto run = std::make_shared<Run>(Request(model, {Floats({rows}, 0)}, [](RunResult) {}));
  CHECK(run->CheckRows().ok());
  return run;
}

// How many rows one of the workers takes of what waits.
int64_t Taken(Batching batching, const std::vector<int64_t>& waiting, Staff staff, int row_us = 100) {
  auto model = Model(AddOne, batching);
  Lane lane;
  for (int64_t rows : waiting) lane.Push(Waiting(model, rows));
  model->row_times().Measured(KindOf(lane.head()), true, std::chrono::microseconds(row_us));
  return RowsOf(lane.Take(Fitting(lane, *model, staff)));
}

std::vector<int64_t> Single(size_t count) { return std::vector<int64_t>(count, 1); }

void IdleWorkersGetTheirShareWhereItIsWorthIt() {
  CHECK_EQUAL(Taken({64, 0}, Single(8), {1, 0}), 8);
  CHECK_EQUAL(Taken({64, 0}, Single(8), {2, 1}), 4);
  CHECK_EQUAL(Taken({64, 0}, Single(7), {2, 1}), 4);
  CHECK_EQUAL(Taken({64, 0}, Single(8), {3, 2}), 3);
  CHECK_EQUAL(Taken({64, 0}, Single(8), {2, 1}, 10), 8);  // not worth waking another
  CHECK_EQUAL(Taken({64, 6}, Single(8), {2, 1}), 6);
}

void NobodyTakesMoreThanTheModelAllows() {
  std::vector<int64_t> large = Single(61);
  large[1] = 100;
  CHECK_EQUAL(Taken({8, 0}, large, {2, 1}), 4);
  CHECK_EQUAL(Taken({4, 8}, Single(20), {2, 1}), 4);
}

void HoweverManyFitAreSeen() {
  CHECK_EQUAL(Taken({1024, 0}, Single(600), {1, 0}), 600);
  auto model = Model(AddOne, {1024, 512});
  Lane lane;
  for (int i = 0; i < 600; ++i) lane.Push(Waiting(model, 1));
  CHECK(lane.ReadyAt(model->batching(), milliseconds(60'000)) <= Clock::now());
}

void WhatLosesByABatchIsTakenAloneUnlessABatchIsAskedFor() {
  for (int64_t at_least : {0, 4}) {
    auto model = Model(AddOne, {8, at_least});
    Lane lane;
    for (int i = 0; i < 8; ++i) lane.Push(Waiting(model, 1));
    model->row_times().Measured(KindOf(lane.head()), true, std::chrono::microseconds(60));
    model->row_times().Measured(KindOf(lane.head()), false, std::chrono::microseconds(50));
    CHECK_EQUAL(RowsOf(lane.Take(Fitting(lane, *model, {1, 0}))), at_least == 0 ? 1 : 8);
  }
}

// The queue is not what frees it, under its lock or later, when all who asked have left.
void WhatWasSweptHoldsNoModel() {
  Answers answers;
  Gate gate;
  RunQueues queues = Queues();
  queues.Submit(Request(Holder(&gate), {Floats({1}, 0)}, answers.Slot(0)));
  gate.WaitFor(1);
  auto model = Model(AddOne);
  std::weak_ptr<Executable> watched = model;
  auto request = Request(model, {Floats({1}, 0)}, answers.Slot(1));
  request.cancellation = std::make_shared<Cancellation>();
  auto cancellation = request.cancellation;
  queues.Submit(std::move(request));
  model.reset();
  CHECK(!watched.expired());
  cancellation->Cancel();
  queues.Sweep();
  CHECK(watched.expired());
  gate.Open();
  answers.Wait(2);
}

void ModelsTakeTurns() {
  Answers answers;
  Gate gate;
  RunQueues queues = Queues();
  auto busy = Model(AddOne);
  auto rare = Model(AddOne);
  queues.Submit(Request(Holder(&gate), {Floats({1}, 0)}, answers.Slot(-1)));
  gate.WaitFor(1);
  for (int i = 0; i < 20; ++i) queues.Submit(Request(busy, {Floats({1}, 0)}, answers.Slot(i)));
  queues.Submit(Request(rare, {Floats({1}, 0)}, answers.Slot(100)));
  queues.Submit(Request(rare, {Floats({1}, 0)}, answers.Slot(101)));
  gate.Open();
  auto came = answers.Wait(23);
  std::vector<int> order;
  for (size_t i = 1; i < 6; ++i) order.push_back(came[i].first);
  CHECK(order == std::vector<int>({0, 100, 1, 101, 2}));
}

void TheDeadlineIsAnsweredWhileTheRunGoesOn() {
  Answers answers;
  Gate gate;
  RunQueues queues = Queues();
  auto model = Holder(&gate);
  for (int i = 0; i < 2; ++i) {
    RunRequest request = Request(model, {Floats({1}, 0)}, answers.Slot(i));
    // The first must have begun by then, also on a machine that is busy.
    request.deadline = Clock::now() + (i == 0 ? milliseconds(1000) : milliseconds(20));
    queues.Submit(std::move(request));
    gate.WaitFor(1);
  }
  for (auto& [number, result] : answers.Wait(2)) CHECK_EQUAL(Text(result), "TIMEDOUT");
  gate.Open();
  queues.Submit(Request(model, {Floats({1}, 0)}, answers.Slot(2)));
  CHECK_EQUAL(Text(answers.Wait(3)[2].second), "ok");
}

// Runs until it is canceled.
void Obedient(const backend::Call& call, backend::Sink& out) {
  while (!call.canceler->Canceled()) std::this_thread::yield();
  out.Error({"stopped", 7});
}

void ARunOverItsLimitIsAnErrorAndToldToEnd() {
  Answers answers;
  RunQueues queues = Queues();
  auto model = Model(Obedient);
  RunRequest request = Request(model, {Floats({1}, 0)}, answers.Slot(0));
  request.limit = milliseconds(10);
  queues.Submit(std::move(request));
  CHECK_EQUAL(Text(answers.Wait(1)[0].second), "Exiting due to terminate flag being set to true");
  CHECK_EQUAL(model->stats().errors.load(), 1);
  queues.Submit(Request(Model(AddOne), {Floats({1}, 0)}, answers.Slot(1)));
  CHECK_EQUAL(Text(answers.Wait(2)[1].second), "ok");
}

void ABatchEndsWhenAllItsMembersHaveLeft() {
  Answers answers;
  Gate gate, begun;
  begun.Open();
  RunQueues queues = Queues();
  auto obedient = [&begun](const backend::Call& call, backend::Sink& out) {
    begun.Pass();
    Obedient(call, out);
  };
  auto model = Model(obedient, {8});
  queues.Submit(Request(Holder(&gate), {Floats({1}, 0)}, answers.Slot(-1)));
  gate.WaitFor(1);
  std::vector<CancellationPtr> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_shared<Cancellation>());
    RunRequest request = Request(model, {Floats({1}, 0)}, answers.Slot(i));
    request.cancellation = clients.back();
    queues.Submit(std::move(request));
  }
  clients[0]->Cancel();  // not begun: it is not even run
  gate.Open();
  CHECK_EQUAL(answers.Wait(2)[1].first, 0);
  begun.WaitFor(1);
  clients[1]->Cancel();
  CHECK_EQUAL(answers.count(), 2u);
  clients[2]->Cancel();
  answers.Wait(4);
  CHECK_EQUAL(model->stats().calls.load(), 2);
  CHECK_EQUAL(model->stats().errors.load(), 2);
}

void AWorkerThatIsLostIsReplacedAndLeavesWhenItComesBack() {
  Answers answers;
  Gate gate;
  std::mutex mutex;
  std::vector<std::string> log;
  QueueSettings settings;
  settings.grace = milliseconds(5);
  settings.most_written_off = 1;
  settings.log = [&](const std::string& line) {
    std::lock_guard lock(mutex);
    log.push_back(line);
  };
  RunQueues queues = Queues(settings);
  auto deaf = Holder(&gate);
  auto client = std::make_shared<Cancellation>();
  RunRequest request = Request(deaf, {Floats({1}, 0)}, answers.Slot(0));
  request.cancellation = client;
  queues.Submit(std::move(request));
  gate.WaitFor(1);
  client->Cancel();
  CHECK_EQUAL(Text(answers.Wait(1)[0].second), "the run was canceled");
  queues.Submit(Request(Model(AddOne), {Floats({1}, 0)}, answers.Slot(1)));
  CHECK_EQUAL(Text(answers.Wait(2)[1].second), "ok");
  gate.Open();
  for (int i = 0; i < 20; ++i) queues.Submit(Request(Model(AddOne), {Floats({1}, 0)}, answers.Slot(2)));
  answers.Wait(22);
  queues.Stop();
  CHECK(queues.Join(Clock::now() + std::chrono::seconds(20)));
  CHECK_EQUAL(log.size(), 1u);
}

void TooManyLostWorkersAreNotReplacedUntilOneComesBack() {
  Answers answers;
  Gate gate;
  QueueSettings settings;
  settings.grace = milliseconds(5);
  settings.most_written_off = 1;
  RunQueues queues = Queues(settings);
  auto deaf = Holder(&gate);
  for (int i = 0; i < 2; ++i) {
    auto client = std::make_shared<Cancellation>();
    RunRequest request = Request(deaf, {Floats({1}, 0)}, answers.Slot(i));
    request.cancellation = client;
    queues.Submit(std::move(request));
    gate.WaitFor(i + 1);
    client->Cancel();
    answers.Wait(static_cast<size_t>(i) + 1);
  }
  RunRequest waiting = Request(Model(AddOne), {Floats({1}, 0)}, answers.Slot(2));
  waiting.deadline = Clock::now() + milliseconds(20);
  queues.Submit(std::move(waiting));
  CHECK_EQUAL(Text(answers.Wait(3)[2].second), "TIMEDOUT");
  gate.Open();
  queues.Submit(Request(Model(AddOne), {Floats({1}, 0)}, answers.Slot(3)));
  CHECK_EQUAL(Text(answers.Wait(4)[3].second), "ok");
}

void StoppingEndsWhatRunsAndDropsWhatWaits() {
  Answers answers;
  RunQueues queues = Queues();
  auto model = Model(Obedient);
  for (int i = 0; i < 5; ++i) queues.Submit(Request(model, {Floats({1}, 0)}, answers.Slot(i)));
  queues.Stop();
  CHECK(queues.Join(Clock::now() + std::chrono::seconds(20)));
  CHECK(answers.count() <= 1);
  queues.Submit(Request(model, {Floats({1}, 0)}, answers.Slot(9)));
  CHECK(answers.count() <= 1);
}

// Nobody would join them.
void ADeviceThatIsNewAfterTheStopGetsNoWorkers() {
  Answers answers;
  RunQueues queues = Queues();
  queues.Stop();
  CHECK(queues.Join(Clock::now() + std::chrono::seconds(20)));
  queues.Submit(Request(Model(AddOne), {Floats({1}, 0)}, answers.Slot(0)));
  CHECK(queues.Join(Clock::now()));
}

size_t Threads() {
  std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

void HoweverManyDevicesAreNamedThereAreNotMoreThreads() {
  Answers answers;
  RunQueues queues = Queues();
  size_t before = Threads();
  for (int i = 0; i < 200; ++i) {
    auto model = std::make_shared<BatchingModel>(AddOne, Batching{}, "CPU:" + std::to_string(i));
    queues.Submit(Request(model, {Floats({1}, 0)}, answers.Slot(i)));
  }
  for (auto& [number, result] : answers.Wait(200)) CHECK_EQUAL(Text(result), "ok");
  CHECK(Threads() - before < 50);
}

void RunsOfAModelThatDoesNotLoadSayWhy() {
  Answers answers;
  RunQueues queues = Queues();
  RunRequest request = Request(nullptr, {Floats({1}, 0)}, answers.Slot(0));
  request.executable = std::make_shared<Executable>(
      "CPU", "", []() -> Result<ProgramPtr> { return Status::Error("this is no model"); });
  queues.Submit(std::move(request));
  CHECK_EQUAL(Text(answers.Wait(1)[0].second), "this is no model");
}

// Many models, shapes, errors, deadlines and clients that leave: each run is answered exactly once, and
// right.
void WhateverComesEachRunIsAnsweredOnceAndRight() {
  constexpr int kRuns = 3000;
  Answers answers;
  std::mt19937 random(17);
  QueueSettings settings;
  settings.workers = 3;
  settings.patience = milliseconds(1);
  RunQueues queues = Queues(settings);
  auto picky = [](const backend::Call& call, backend::Sink& out) {
    auto* values = static_cast<float*>(call.inputs[0].data);
    for (size_t k = 0; k < call.inputs[0].size / sizeof(float); ++k)
      if (values[k] < 0) return out.Error({"negative", 8});
    AddOne(call, out);
  };
  std::vector<ModelPtr> models{Model(picky), Model(picky, {4}), Model(picky, {16, 4, milliseconds(1)}),
                               Model(picky, {7, 2})};
  std::vector<bool> may_fail(kRuns), is_bad(kRuns);
  std::thread leaver;
  std::vector<CancellationPtr> leaving;
  for (int i = 0; i < kRuns; ++i) {
    size_t n = static_cast<size_t>(i);
    is_bad[n] = random() % 20 == 0;
    int64_t rows = static_cast<int64_t>(1 + random() % 5), columns = static_cast<int64_t>(1 + random() % 2);
    float first = is_bad[n] ? -100.0f : static_cast<float>(i);
    RunRequest request =
        Request(models[random() % models.size()], {Floats({rows, columns}, first)}, answers.Slot(i));
    if (random() % 10 == 0) {
      request.deadline = Clock::now() + std::chrono::microseconds(random() % 500);
      may_fail[n] = true;
    } else if (random() % 10 == 0) {
      request.cancellation = std::make_shared<Cancellation>();
      leaving.push_back(request.cancellation);
      may_fail[n] = true;
    }
    queues.Submit(std::move(request));
    if (leaving.size() > 3) {
      for (auto& client : leaving) client->Cancel();
      leaving.clear();
    }
    if (random() % 100 == 0) queues.Sweep();
  }
  std::vector<int> times(kRuns);
  for (auto& [number, result] : answers.Wait(kRuns)) {
    size_t n = static_cast<size_t>(number);
    ++times[n];
    if (may_fail[n]) continue;
    CHECK_EQUAL(Text(result), is_bad[n] ? "negative" : "ok");
    if (!is_bad[n]) CHECK_EQUAL(First(result), static_cast<float>(number + 1));
  }
  CHECK(std::all_of(times.begin(), times.end(), [](int count) { return count == 1; }));
}

}  // namespace

int main() {
  ARunIsAnsweredWithItsOutputsAndCounted();
  WhatWaitsForOneModelSharesARun();
  OtherShapesGoIntoTheNextBatch();
  ABadRequestFailsAlone();
  InputsWithoutACommonFirstDimensionAreRefused();
  OutputsThatAreNoBatchAreRefusedHoweverManyShareTheRun();
  ALeastBatchIsWaitedForButNotForEver();
  IdleWorkersGetTheirShareWhereItIsWorthIt();
  NobodyTakesMoreThanTheModelAllows();
  HoweverManyFitAreSeen();
  WhatLosesByABatchIsTakenAloneUnlessABatchIsAskedFor();
  WhatWasSweptHoldsNoModel();
  ModelsTakeTurns();
  TheDeadlineIsAnsweredWhileTheRunGoesOn();
  ARunOverItsLimitIsAnErrorAndToldToEnd();
  ABatchEndsWhenAllItsMembersHaveLeft();
  AWorkerThatIsLostIsReplacedAndLeavesWhenItComesBack();
  TooManyLostWorkersAreNotReplacedUntilOneComesBack();
  StoppingEndsWhatRunsAndDropsWhatWaits();
  ADeviceThatIsNewAfterTheStopGetsNoWorkers();
  HoweverManyDevicesAreNamedThereAreNotMoreThreads();
  RunsOfAModelThatDoesNotLoadSayWhy();
  WhateverComesEachRunIsAnsweredOnceAndRight();
  return Report();
}

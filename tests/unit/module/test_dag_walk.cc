#include <deque>
#include <map>
#include <sstream>

#include "dag_walk.h"
#include "runs.h"

using namespace penstock;
using test::Floats;

namespace {

class Device final : public Executable {
 public:
  explicit Device(std::string name) : Executable(std::move(name), "", [] { return Status::Error("none"); }) {}
};

// An array of a backend's, which can be seen to have come to the host.
class Array final : public backend::Resident {
 public:
  Array(float value, int* copies) : value_(value), copies_(copies) {}
  void ToHost(backend::Sink& out) const noexcept override {
    ++*copies_;
    int64_t dim = 1;
    float value = value_;
    out.Tensor({DataType::kFloat, &dim, 1, &value, sizeof value});
  }

 private:
  float value_;
  int* copies_;
};

// A DAG from its words, whose models are named by their device; every run waits until it is answered here.
class Walked {
 public:
  explicit Walked(const std::string& command) {
    std::istringstream stream(command);
    for (std::string word; stream >> word;) owned_.push_back(word);
    auto dag = ParseDag(Arguments({owned_.begin(), owned_.end()}), {});
    CHECK_EQUAL(test::Text(dag), "ok");
    DagPlan plan;
    plan.slots.resize(dag->slots);
    plan.runs.resize(dag->steps.size());
    for (size_t i = 0; i < dag->load.size(); ++i) plan.slots[i].tensor = Floats({1}, static_cast<float>(i));
    for (size_t i = 0; i < dag->steps.size(); ++i) Prepare(dag->steps[i], &plan, i);
    plan.dag = std::move(*dag);
    walk_ = std::make_shared<DagWalk>(
        std::move(plan), [this](RunRequest request) { Take(std::move(request)); },
        [this](std::shared_ptr<const DagWalk> walk) { ended = std::move(walk); });
  }
  // Every run is answered before it has been handed over, by `answer`.
  void AnswerAtOnce(float answer) { at_once_ = answer; }
  void Start() { walk_->Start(); }
  RunRequest Next() {
    RunRequest request = std::move(waiting.front());
    waiting.pop_front();
    return request;
  }
  // "ok", "NA" or the error of each step.
  std::string Outcomes() const {
    std::string text;
    for (size_t i = 0; i < ended->dag().steps.size(); ++i) {
      const auto& outcome = ended->outcome(i);
      text += (i > 0 ? " " : "") + (!outcome ? "NA" : outcome->ok() ? "ok" : outcome->text());
    }
    return text;
  }

  std::deque<RunRequest> waiting;
  std::shared_ptr<const DagWalk> ended;

 private:
  void Prepare(const DagStep& step, DagPlan* plan, size_t index) {
    if (step.kind == DagStep::Kind::kTensorSet) plan->slots[step.outputs[0]].tensor = Floats({1}, 100);
    if (step.runs()) plan->runs[index].executable = std::make_shared<Device>(owned_[step.key()]);
    plan->runs[index].output_count = step.outputs.size();
  }
  void Take(RunRequest request) {
    if (!at_once_) return waiting.push_back(std::move(request));
    RunResult result;
    result.outputs.assign(request.output_count, {Floats({1}, *at_once_), nullptr});
    request.done(std::move(result));
  }

  std::vector<std::string> owned_;
  std::shared_ptr<DagWalk> walk_;
  std::optional<float> at_once_;
};

float Value(const TensorPtr& tensor) { return test::First({Status::Ok(), false, {{tensor, nullptr}}}); }

RunResult Gives(float value) { return {Status::Ok(), false, {{Floats({1}, value), nullptr}}}; }

RunResult GivesKept(float value, const RunRequest& asked, int* copies) {
  int64_t dim = 1;
  backend::TensorView shape{DataType::kFloat, &dim, 1, nullptr, sizeof value};
  auto array = std::make_unique<Array>(value, copies);
  auto kept = std::make_shared<KeptArray>(shape, std::move(array), asked.executable->backend(),
                                          asked.executable->device(), asked.native);
  return {Status::Ok(), false, {{nullptr, std::move(kept)}}};
}

constexpr char kTwoModels[] =
    "AI.DAGEXECUTE LOAD 1 a |> AI.TENSORSET b FLOAT 1 VALUES 1 |> AI.MODELEXECUTE CPU INPUTS 2 a b OUTPUTS 1 "
    "c "
    "|> AI.MODELEXECUTE CPU INPUTS 1 c OUTPUTS 1 d |> AI.TENSORGET d |> AI.TENSORGET a";

void StepsTakeWhatEarlierOnesPutOut() {
  Walked walked(kTwoModels);
  walked.Start();
  auto first = walked.Next();
  CHECK_EQUAL(Value(first.inputs[0].tensor), 0);
  CHECK_EQUAL(Value(first.inputs[1].tensor), 100);
  CHECK(walked.waiting.empty());
  first.done(Gives(7));
  auto second = walked.Next();
  CHECK_EQUAL(Value(second.inputs[0].tensor), 7);
  CHECK(walked.ended == nullptr);
  second.done(Gives(9));
  CHECK_EQUAL(walked.Outcomes(), "ok ok ok ok ok");
  CHECK(walked.ended->ok());
  CHECK_EQUAL(Value(walked.ended->tensor(3)), 9);
  CHECK_EQUAL(Value(walked.ended->tensor(0)), 0);
}

void NothingRunsAfterAnError() {
  Walked walked(kTwoModels);
  walked.Start();
  walked.Next().done({Status::Error("no"), false, {}});
  CHECK(walked.waiting.empty());
  CHECK_EQUAL(walked.Outcomes(), "ok no NA NA NA");
  CHECK(!walked.ended->ok());
}

void ATimeoutIsThatOfTheWhole() {
  Walked walked(kTwoModels);
  walked.Start();
  walked.Next().done(Gives(1));
  walked.Next().done({Status::Ok(), true, {}});
  CHECK(walked.ended->timed_out());
  CHECK(!walked.ended->ok());
}

void ArraysStayForTheOneThatTakesThem() {
  int copies = 0;
  Walked walked(kTwoModels);
  walked.Start();
  auto first = walked.Next();
  CHECK(first.keep && first.native);
  first.done(GivesKept(7, first, &copies));
  auto second = walked.Next();
  CHECK(second.inputs[0].kept != nullptr);
  CHECK_EQUAL(copies, 0);
  CHECK(!second.keep);
  second.done(GivesKept(9, second, &copies));  // though it was not asked to
  CHECK_EQUAL(copies, 1);
  CHECK_EQUAL(Value(walked.ended->tensor(3)), 9);
}

void ArraysThatLeaveOrAreTakenTwiceOrElsewhereComeToTheHost() {
  int copies = 0;
  Walked leaves(
      "AI.DAGEXECUTE LOAD 1 a |> AI.MODELEXECUTE CPU INPUTS 1 a OUTPUTS 1 b |> AI.MODELEXECUTE CPU INPUTS 1 "
      "b "
      "OUTPUTS 1 c |> AI.TENSORGET b");
  leaves.Start();
  auto run = leaves.Next();
  CHECK(run.keep);
  run.done(GivesKept(3, run, &copies));
  CHECK_EQUAL(copies, 1);
  run = leaves.Next();
  CHECK(run.inputs[0].kept != nullptr);
  run.done(Gives(4));
  CHECK_EQUAL(Value(leaves.ended->tensor(1)), 3);

  Walked twice(
      "AI.DAGEXECUTE LOAD 1 a |> AI.MODELEXECUTE CPU INPUTS 1 a OUTPUTS 1 b |> AI.MODELEXECUTE CPU INPUTS 2 "
      "b b "
      "OUTPUTS 1 c");
  twice.Start();
  run = twice.Next();
  CHECK(!run.keep);
  run.done(GivesKept(3, run, &copies));
  CHECK_EQUAL(copies, 2);
  CHECK_EQUAL(Value(twice.Next().inputs[1].tensor), 3);

  Walked elsewhere(
      "AI.DAGEXECUTE LOAD 1 a |> AI.MODELEXECUTE GPU:0 INPUTS 1 a OUTPUTS 1 b |> AI.MODELEXECUTE GPU:1 "
      "INPUTS 1 b "
      "OUTPUTS 1 c");
  elsewhere.Start();
  CHECK(!elsewhere.Next().keep);
}

void ALongDagTakesNoDeeperStack() {
  constexpr int kSteps = 20000;
  std::string command = "AI.DAGEXECUTE LOAD 1 a";
  for (int i = 0; i < kSteps; ++i) command += " |> AI.MODELEXECUTE CPU INPUTS 1 a OUTPUTS 1 a";
  Walked walked(command + " |> AI.TENSORGET a");
  walked.AnswerAtOnce(5);
  walked.Start();
  CHECK(walked.ended->ok());
  CHECK_EQUAL(Value(walked.ended->tensor(kSteps)), 5);
}

void WorkersHandItOn() {
  RunQueues queues(QueueSettings{}, test::LoadHere);
  auto model = test::Model(test::AddOne);
  std::string command = "AI.DAGEXECUTE LOAD 1 a";
  for (int i = 0; i < 100; ++i) command += " |> AI.MODELEXECUTE CPU INPUTS 1 a OUTPUTS 1 a";
  command += " |> AI.TENSORGET a";
  std::vector<std::string> owned;
  std::istringstream stream(command);
  for (std::string word; stream >> word;) owned.push_back(word);
  auto dag = ParseDag(Arguments({owned.begin(), owned.end()}), {});
  DagPlan plan;
  plan.slots.resize(dag->slots);
  plan.slots[0].tensor = Floats({1}, 0);
  plan.runs.resize(dag->steps.size());
  for (RunRequest& run : plan.runs) {
    run.executable = model;
    run.output_count = 1;
  }
  plan.dag = std::move(*dag);
  test::Answers answers;
  auto told = answers.Slot(0);
  auto walk = std::make_shared<DagWalk>(
      std::move(plan), [&](RunRequest request) { queues.Submit(std::move(request)); },
      [told](std::shared_ptr<const DagWalk> ended) {
        told({Status::Ok(), !ended->ok(), {{ended->tensor(100), nullptr}}});
      });
  walk->Start();
  CHECK_EQUAL(test::First(answers.Wait(1)[0].second), 100);
  queues.Stop();
  CHECK(queues.Join(Clock::now() + std::chrono::seconds(30)));
}

}  // namespace

int main() {
  StepsTakeWhatEarlierOnesPutOut();
  NothingRunsAfterAnError();
  ATimeoutIsThatOfTheWhole();
  ArraysStayForTheOneThatTakesThem();
  ArraysThatLeaveOrAreTakenTwiceOrElsewhereComeToTheHost();
  ALongDagTakesNoDeeperStack();
  WorkersHandItOn();
  return test::Report();
}

#include "dag_plan.h"

#include <utility>

#include "execution.h"
#include "held_string.h"
#include "model_type.h"
#include "module_state.h"
#include "script_host.h"
#include "script_type.h"
#include "tensor_commands.h"
#include "tensor_type.h"

namespace penstock {
namespace {

// Copying less than this takes no longer than waiting a turn.
constexpr size_t kLargeBlob = 64 * 1024;

class Planner {
 public:
  Planner(RedisModuleCtx* context, RedisModuleString** argv, Dag dag, DagForm form)
      : context_(context), argv_(argv), form_(form) {
    if (dag.timeout_ms > 0) deadline_ = DeadlineIn(std::chrono::milliseconds(dag.timeout_ms));
    plan_.slots.resize(dag.slots);
    plan_.runs.resize(dag.steps.size());
    plan_.dag = std::move(dag);
  }

  Result<PlannedDag> Plan() {
    Status status = Load();
    if (status.ok()) status = CheckPersisted();
    for (size_t i = 0; i < plan_.dag.steps.size() && status.ok(); ++i) status = Prepare(i);
    if (!status.ok()) return status;
    return PlannedDag{std::move(plan_), std::move(cancellation_), holds_};
  }

 private:
  Status Load() {
    for (size_t i = 0; i < plan_.dag.load.size(); ++i) {
      auto tensor = GetTensor(context_, argv_[plan_.dag.load[i]]);
      if (!tensor.ok()) return tensor.status();
      plan_.slots[i].tensor = *tensor;
    }
    return Status::Ok();
  }

  Status CheckPersisted() {
    for (const Dag::Persist& persist : plan_.dag.persist) {
      auto there = FindTensor(context_, argv_[persist.key]);
      if (!there.ok()) return there.status();
    }
    return Status::Ok();
  }

  Status Prepare(size_t index) {
    const DagStep& step = plan_.dag.steps[index];
    if (step.kind == DagStep::Kind::kTensorSet) return Set(step);
    if (step.kind == DagStep::Kind::kTensorGet) return Status::Ok();
    RunRequest& request = plan_.runs[index];
    Status status = Find(step, &request.executable);
    if (!status.ok() || step.kind == DagStep::Kind::kTag) return status;
    request.output_count = step.outputs.size();
    request.client = redis::GetClientId(context_);
    request.cancellation = cancellation_;
    request.limit = state().options.RunLimit(request.executable->backend());
    request.deadline = deadline_;
    if (step.kind == DagStep::Kind::kScript) PrepareScript(step, &request);
    return status;
  }

  Status Find(const DagStep& step, std::shared_ptr<Executable>* executable) {
    RedisModuleString* key = argv_[step.key()];
    if (step.kind == DagStep::Kind::kScript) return Put(GetScript(context_, key), executable);
    return Put(GetModel(context_, key), executable);
  }

  template <class T>
  static Status Put(Result<T> found, std::shared_ptr<Executable>* executable) {
    if (found.ok()) *executable = *found;
    return found.ok() ? Status::Ok() : found.status();
  }

  Status Set(const DagStep& step) {
    RedisModuleString** argv = argv_ + step.first;
    RedisModuleString* blob = step.set.blob ? argv[*step.set.blob] : nullptr;
    bool large = blob != nullptr && View(blob).size() > kLargeBlob;
    if (large) Settle(blob);
    auto tensor = MakeTensor(step.set, argv, large ? BlobBytes::kHeld : BlobBytes::kCopied);
    if (tensor.ok()) plan_.slots[step.outputs[0]].tensor = *tensor;
    return tensor.ok() ? Status::Ok() : tensor.status();
  }

  // Since Redis 7 a string can be told to move now, if it is to move at all.
  void Settle(RedisModuleString* blob) {
    if (redis::TrimStringAllocation != nullptr) redis::TrimStringAllocation(blob);
    holds_ = holds_ || redis::TrimStringAllocation == nullptr;
  }

  void PrepareScript(const DagStep& step, RunRequest* request) {
    RedisModuleString** argv = argv_ + step.first;
    auto may = form_.read_only ? ScriptHost::May::kModels : ScriptHost::May::kAll;
    request->function = step.run.function;
    for (size_t at : step.run.keys) request->keys.emplace_back(View(argv[at]));
    for (size_t at : step.run.texts) request->texts.emplace_back(View(argv[at]));
    request->host = std::make_shared<ScriptHost>(context_, cancellation_, may);
  }

  RedisModuleCtx* context_;
  RedisModuleString** argv_;
  DagForm form_;
  DagPlan plan_;
  bool holds_ = false;
  CancellationPtr cancellation_ = std::make_shared<Cancellation>();
  std::optional<Clock::time_point> deadline_;
};

}  // namespace

Result<PlannedDag> PlanDag(RedisModuleCtx* context, RedisModuleString** argv, Dag dag, DagForm form) {
  return Planner(context, argv, std::move(dag), form).Plan();
}

}  // namespace penstock

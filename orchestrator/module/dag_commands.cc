// AI.DAGEXECUTE, AI.DAGEXECUTE_RO, AI.DAGRUN, AI.DAGRUN_RO.
//
// DESIGN
//   Main thread: everything is parsed and looked up (dag_plan.h). Then the walk (dag_walk.h) has all it
//   needs, and the client waits for it, unless all of it can be done at once. Back on the main thread PERSIST
//   puts its tensors into their keys, all or none, when every step went well.
#include <utility>

#include "blocked.h"
#include "commands.h"
#include "dag_plan.h"
#include "execution.h"
#include "module_state.h"
#include "reply.h"
#include "tensor_commands.h"

namespace penstock {
namespace {

using WalkPtr = std::shared_ptr<const DagWalk>;

int ReplyStep(RedisModuleCtx* context, const DagWalk& walk, size_t index) {
  const DagStep& step = walk.dag().steps[index];
  const auto& outcome = walk.outcome(index);
  if (!outcome) return redis::ReplyWithSimpleString(context, "NA");
  if (outcome->ok() && step.kind == DagStep::Kind::kTag) return ReplyText(context, walk.tag(index));
  if (!outcome->ok() || step.kind != DagStep::Kind::kTensorGet) return Reply(context, *outcome);
  return ReplyTensor(context, *walk.tensor(step.inputs[0]), step.get);
}

int ReplyWalk(RedisModuleCtx* context, const DagWalk& walk) {
  if (walk.timed_out()) return redis::ReplyWithSimpleString(context, "TIMEDOUT");
  redis::ReplyWithArray(context, static_cast<long>(walk.dag().steps.size()));
  for (size_t i = 0; i < walk.dag().steps.size(); ++i) ReplyStep(context, walk, i);
  return redis::kOk;
}

std::vector<HeldString> PersistKeys(RedisModuleString** argv, const Dag& dag) {
  std::vector<HeldString> keys;
  for (const Dag::Persist& persist : dag.persist) keys.emplace_back(argv[persist.key]);
  return keys;
}

// PERSIST of a DAG in which every step went well.
Status Persist(RedisModuleCtx* context, const std::vector<HeldString>& keys, const DagWalk& walk) {
  std::vector<RunArray> tensors;
  if (!walk.ok() || keys.empty()) return Status::Ok();
  for (const Dag::Persist& persist : walk.dag().persist)
    tensors.push_back({walk.tensor(persist.slot), nullptr});
  return StoreOutputs(context, keys, tensors);
}

// One client's DAG.
class DagAnswer : public Blocked {
 public:
  DagAnswer(RedisModuleCtx* context, CancellationPtr cancellation, std::vector<HeldString> persist)
      : Blocked(context), cancellation_(std::move(cancellation)), persist_(std::move(persist)) {}
  void Take(WalkPtr walk) { walk_ = std::move(walk); }

 protected:
  void OnGone() override { cancellation_->Cancel(); }
  bool Writes() const override { return walk_->ok() && !persist_.empty(); }
  void Finish() override {
    Database database(this->database());
    status_ = Persist(database.context(), persist_, *walk_);
  }
  int Answer(RedisModuleCtx* context) override {
    return status_.ok() ? ReplyWalk(context, *walk_) : Reply(context, status_);
  }

 private:
  const CancellationPtr cancellation_;
  const std::vector<HeldString> persist_;
  WalkPtr walk_;
  Status status_ = Status::Ok();
};

// Between a walk and its client. While every run is short enough for the main thread (inline_runs.h) the
// command itself walks and answers; from the first that is not, or may not begin yet, the client waits.
class Talk {
 public:
  Talk(RedisModuleCtx* context, CancellationPtr cancellation, std::vector<HeldString> persist)
      : context_(context), cancellation_(std::move(cancellation)), persist_(std::move(persist)) {}

  // Main thread, within the command.
  void Wait() {
    answer_ = std::make_unique<DagAnswer>(context_, cancellation_, std::move(persist_));
    waits_ = true;
  }
  bool waits() const { return waits_; }
  int AnswerAtOnce() {
    WalkPtr walk = std::move(ended_);
    Status status = Persist(context_, persist_, *walk);
    return status.ok() ? ReplyWalk(context_, *walk) : Reply(context_, status);
  }

  // Any thread, once the client waits.
  void Submit(RunRequest request) {
    if (waits_) return state().runs.Submit(std::move(request));
    auto run = std::make_shared<Run>(std::move(request));
    Status fits = run->CheckRows();
    if (!fits.ok()) return run->request.done({fits, false, {}});
    auto when = state().inline_runs.MayRun(*run);
    if (when == InlineRuns::When::kNow && TryRunHere(run)) return;
    Wait();
    if (when == InlineRuns::When::kAtTurnsEnd) return state().inline_runs.RunAtTurnsEnd(std::move(run));
    state().runs.Submit(std::move(run));
  }
  void End(WalkPtr walk) {
    if (!waits_) {
      ended_ = std::move(walk);
      return;
    }
    answer_->Take(std::move(walk));
    Blocked::Deliver(std::move(answer_));
  }

 private:
  // What stays with its backend would be taken from there by a worker.
  static bool TryRunHere(const RunPtr& run) {
    bool keep = std::exchange(run->request.keep, false);
    if (state().inline_runs.TryRunNow(run)) return true;
    run->request.keep = keep;
    return false;
  }

  RedisModuleCtx* context_;
  CancellationPtr cancellation_;
  std::vector<HeldString> persist_;
  std::unique_ptr<DagAnswer> answer_;
  bool waits_ = false;  // written within the command, before any other thread comes here
  WalkPtr ended_;
};

void StartInNextTurn(RedisModuleCtx*, void* data) {
  std::unique_ptr<std::shared_ptr<DagWalk>> walk(static_cast<std::shared_ptr<DagWalk>*>(data));
  (*walk)->Start();
}

int WalkThrough(RedisModuleCtx* context, RedisModuleString** argv, PlannedDag planned) {
  auto talk =
      std::make_shared<Talk>(context, std::move(planned.cancellation), PersistKeys(argv, planned.plan.dag));
  auto walk = std::make_shared<DagWalk>(
      std::move(planned.plan), [talk](RunRequest request) { talk->Submit(std::move(request)); },
      [talk](WalkPtr ended) { talk->End(std::move(ended)); });
  if (planned.holds) {
    talk->Wait();
    redis::CreateTimer(context, 0, StartInNextTurn, new std::shared_ptr<DagWalk>(walk));
    return redis::kOk;
  }
  walk->Start();
  return talk->waits() ? redis::kOk : talk->AnswerAtOnce();
}

Status WrongCount(DagForm form) {
  const char* what = form.deprecated ? "wrong number of" : "missing";
  return Status::Error(std::string(what) + " arguments for '" + form.Name() + "' command");
}

int RunDag(RedisModuleCtx* context, RedisModuleString** argv, int argc, DagForm form) {
  bool keys_only = redis::IsKeysPositionRequest(context) != 0;
  if (argc < 2) return keys_only ? redis::kOk : Reply(context, WrongCount(form));
  auto dag = ParseDag(Words(argv, argc), form);
  if (keys_only) return dag.ok() ? TellKeys(context, dag->Keys()) : redis::kOk;
  if (!dag.ok()) return Reply(context, dag.status());
  if (!MayBlock(context)) return Reply(context, RefuseToBlock());
  auto planned = PlanDag(context, argv, std::move(*dag), form);
  if (!planned.ok()) return Reply(context, planned.status());
  return WalkThrough(context, argv, std::move(*planned));
}

}  // namespace

int DagExecute(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return RunDag(context, argv, argc, {.deprecated = false, .read_only = false});
}

int DagExecuteReadOnly(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return RunDag(context, argv, argc, {.deprecated = false, .read_only = true});
}

int DagRun(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return RunDag(context, argv, argc, {.deprecated = true, .read_only = false});
}

int DagRunReadOnly(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return RunDag(context, argv, argc, {.deprecated = true, .read_only = true});
}

}  // namespace penstock

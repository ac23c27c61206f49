#include "execution.h"

#include "blocked.h"
#include "held_string.h"
#include "module_state.h"
#include "reply.h"
#include "script_host.h"
#include "tensor_type.h"

namespace penstock {
namespace {

// One client's run, and where its outputs go.
class Execution : public Blocked {
 public:
  Execution(RedisModuleCtx* context, CancellationPtr cancellation, std::vector<HeldString> outputs)
      : Blocked(context), cancellation_(std::move(cancellation)), outputs_(std::move(outputs)) {}
  void Take(RunResult result) { result_ = std::move(result); }

 protected:
  void OnGone() override { cancellation_->Cancel(); }
  bool Writes() const override { return result_.status.ok() && !result_.timed_out; }
  void Finish() override {
    if (!result_.status.ok() || result_.timed_out) return;
    Database database(this->database());
    result_.status = StoreOutputs(database.context(), outputs_, result_.outputs);
  }
  int Answer(RedisModuleCtx* context) override { return ReplyOutcome(context, result_); }

 private:
  const CancellationPtr cancellation_;
  std::vector<HeldString> outputs_;
  RunResult result_;
};

Status FindInputs(RedisModuleCtx* context, RedisModuleString** argv, const RunWords& run,
                  RunRequest* request) {
  for (size_t at : run.inputs) {
    auto tensor = GetTensor(context, argv[at]);
    if (!tensor.ok()) return tensor.status();
    request->inputs.push_back({*tensor, nullptr});
  }
  for (size_t at : run.outputs) {
    auto there = FindTensor(context, argv[at]);
    if (!there.ok()) return there.status();
  }
  return Status::Ok();
}

Result<RunRequest> TakeRequest(RedisModuleCtx* context, RedisModuleString** argv,
                               std::shared_ptr<Executable> executable, const RunWords& run) {
  RunRequest request;
  Status status = FindInputs(context, argv, run, &request);
  if (!status.ok()) return status;
  request.executable = std::move(executable);
  request.output_count = run.outputs.size();
  request.native = run.native;
  request.client = redis::GetClientId(context);
  request.cancellation = std::make_shared<Cancellation>();
  request.limit = state().options.RunLimit(request.executable->backend());
  if (run.timeout_ms > 0) request.deadline = DeadlineIn(std::chrono::milliseconds(run.timeout_ms));
  if (run.function.empty()) return request;
  request.function = run.function;
  for (size_t at : run.keys) request.keys.emplace_back(View(argv[at]));
  for (size_t at : run.texts) request.texts.emplace_back(View(argv[at]));
  request.host = std::make_shared<ScriptHost>(context, request.cancellation);
  return request;
}

int AnswerNow(RedisModuleCtx* context, RunResult result, const std::vector<HeldString>& outputs) {
  if (result.status.ok()) result.status = StoreOutputs(context, outputs, result.outputs);
  return ReplyOutcome(context, result);
}

// On the main thread, within the command. None, and nothing was done, where it would have had to wait.
std::optional<RunResult> ExecuteNow(const RunPtr& run) {
  std::optional<RunResult> result;
  run->request.done = [&result](RunResult ran) { result = std::move(ran); };
  (void)state().inline_runs.TryRunNow(run);
  run->request.done = nullptr;
  return result;
}

int ExecuteLater(RedisModuleCtx* context, RunPtr run, std::vector<HeldString> outputs, bool at_turns_end) {
  auto waiting = std::make_unique<Execution>(context, run->request.cancellation, std::move(outputs));
  auto held = std::make_shared<std::unique_ptr<Execution>>(std::move(waiting));
  run->request.done = [held](RunResult result) {
    (*held)->Take(std::move(result));
    Blocked::Deliver(std::move(*held));
  };
  if (at_turns_end) {
    state().inline_runs.RunAtTurnsEnd(std::move(run));
  } else {
    state().runs.Submit(std::move(run));
  }
  return redis::kOk;
}

int ExecuteParsed(RedisModuleCtx* context, RedisModuleString** argv, std::shared_ptr<Executable> executable,
                  const RunWords& words) {
  auto request = TakeRequest(context, argv, std::move(executable), words);
  if (!request.ok()) return Reply(context, request.status());
  auto run = std::make_shared<Run>(std::move(*request));
  Status fits = run->CheckRows();
  if (!fits.ok()) return Reply(context, fits);
  std::vector<HeldString> outputs;
  outputs.reserve(words.outputs.size());
  for (size_t at : words.outputs) outputs.emplace_back(argv[at]);
  auto when = state().inline_runs.MayRun(*run);
  if (when == InlineRuns::When::kNow) {
    auto result = ExecuteNow(run);
    if (result) return AnswerNow(context, std::move(*result), outputs);
  }
  return ExecuteLater(context, std::move(run), std::move(outputs), when == InlineRuns::When::kAtTurnsEnd);
}

}  // namespace

int Execute(RedisModuleCtx* context, RedisModuleString** argv, int argc, int least, ParseRun parse,
            FindExecutable find) {
  bool keys_only = redis::IsKeysPositionRequest(context) != 0;
  if (argc < least) return keys_only ? redis::kOk : WrongArity(context, argv[0]);
  auto words = parse(Words(argv, argc));
  if (keys_only) return TellKeys(context, words);
  if (!words.ok()) return Reply(context, words.status());
  if (!MayBlock(context)) return Reply(context, RefuseToBlock());
  auto executable = find(context, argv[1]);
  if (!executable.ok()) return Reply(context, executable.status());
  return ExecuteParsed(context, argv, *executable, *words);
}

int ReplyOutcome(RedisModuleCtx* context, const RunResult& result) {
  if (result.timed_out) return redis::ReplyWithSimpleString(context, "TIMEDOUT");
  return Reply(context, result.status);
}

Status StoreOutputs(RedisModuleCtx* context, const std::vector<HeldString>& keys,
                    const std::vector<RunArray>& arrays) {
  Status writable = RefuseOnReplica(context);
  if (!writable.ok()) return writable;
  for (const HeldString& key : keys) {
    auto there = FindTensor(context, key.get());
    if (!there.ok()) return there.status();
  }
  for (size_t i = 0; i < arrays.size(); ++i) {
    Status status = SetTensor(context, keys[i].get(), arrays[i].tensor);
    if (!status.ok()) return status;
    ReplicateTensor(context, keys[i].get(), *arrays[i].tensor);
  }
  return Status::Ok();
}

}  // namespace penstock

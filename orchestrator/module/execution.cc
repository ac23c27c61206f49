#include "execution.h"

#include "blocked.h"
#include "held_string.h"
#include "module_state.h"
#include "reply.h"
#include "run_tensors.h"
#include "script_host.h"
#include "storing.h"
#include "tensor_type.h"

namespace penstock {
namespace {

using backend::Bytes;

std::vector<Bytes> ToBytes(const std::vector<std::string>& texts) {
  std::vector<Bytes> bytes;
  for (const std::string& text : texts) bytes.push_back({text.data(), text.size()});
  return bytes;
}

// Everything a run needs, taken from the keyspace and the command.
struct RunInput {
  std::string function;
  std::string user;
  std::vector<std::string> keys;
  std::vector<std::string> texts;
  std::vector<TensorPtr> inputs;
  std::vector<HeldString> outputs;
  std::optional<Clock::time_point> deadline;
};

class Execution : public BlockedTask {
 public:
  Execution(RedisModuleCtx* context, std::shared_ptr<Executable> executable, RunInput input)
      : BlockedTask(context), executable_(std::move(executable)), input_(std::move(input)) {}

  std::optional<Clock::time_point> deadline() const override { return input_.deadline; }
  void NotRun(Skip reason) override {
    timed_out_ = reason == Skip::kTimedOut;
    if (!timed_out_) status_ = Status::Error("the client is gone");
  }
  void Run() override {
    auto start = Clock::now();
    auto program = executable_->Settle();
    status_ = program.ok() ? RunProgram(**program) : program.status();
    input_.inputs.clear();
    Count(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
  }

 protected:
  void Finish() override {
    if (!status_.ok() || timed_out_) return;
    Database database(this->database());
    status_ = Store(database.context());
  }
  int Answer(RedisModuleCtx* context) override {
    if (timed_out_) return redis::ReplyWithSimpleString(context, "TIMEDOUT");
    return Reply(context, status_);
  }

 private:
  Status RunProgram(backend::Program& program) {
    RunInputs inputs;
    for (const TensorPtr& tensor : input_.inputs) {
      Status status = inputs.Add(*tensor);
      if (!status.ok()) return status;
    }
    auto keys = ToBytes(input_.keys);
    auto texts = ToBytes(input_.texts);
    ScriptHost host(database(), input_.user);
    RunOutputs outputs;
    program.Run({{input_.function.data(), input_.function.size()},
                 inputs.views().data(),
                 inputs.views().size(),
                 input_.outputs.size(),
                 keys.data(),
                 keys.size(),
                 texts.data(),
                 texts.size(),
                 &host},
                outputs);
    results_ = std::move(outputs.tensors());
    return outputs.status();
  }

  void Count(int64_t duration_us) {
    RunStats& stats = executable_->stats();
    stats.calls += 1;
    stats.errors += status_.ok() ? 0 : 1;
    stats.duration_us += duration_us;
    stats.samples += status_.ok() && !results_.empty() ? results_[0]->BatchSize() : 0;
  }

  // All outputs or none.
  Status Store(RedisModuleCtx* context) {
    if (redis::GetContextFlags(context) & redis::kReplica) {
      return Status::Coded("READONLY", "this server became a replica while the command ran");
    }
    for (const HeldString& key : input_.outputs) {
      auto there = FindTensor(context, key.get());
      if (!there.ok()) return there.status();
    }
    for (size_t i = 0; i < results_.size(); ++i) {
      Status status = SetTensor(context, input_.outputs[i].get(), results_[i]);
      if (!status.ok()) return status;
      ReplicateTensor(context, input_.outputs[i].get(), *results_[i]);
    }
    return Status::Ok();
  }

  std::shared_ptr<Executable> executable_;
  RunInput input_;
  std::vector<TensorPtr> results_;
  Status status_ = Status::Ok();
  bool timed_out_ = false;
};

Status FindInputs(RedisModuleCtx* context, RedisModuleString** argv, const RunWords& run, RunInput* input) {
  for (size_t at : run.inputs) {
    auto tensor = GetTensor(context, argv[at]);
    if (!tensor.ok()) return tensor.status();
    input->inputs.push_back(*tensor);
  }
  for (size_t at : run.outputs) {
    auto there = FindTensor(context, argv[at]);
    if (!there.ok()) return there.status();
    input->outputs.emplace_back(argv[at]);
  }
  return Status::Ok();
}

Result<RunInput> TakeInput(RedisModuleCtx* context, RedisModuleString** argv, const RunWords& run) {
  RunInput input;
  Status status = FindInputs(context, argv, run, &input);
  if (!status.ok()) return status;
  input.function = run.function;
  if (!input.function.empty()) input.user = UserName(context);
  for (size_t at : run.keys) input.keys.emplace_back(View(argv[at]));
  for (size_t at : run.texts) input.texts.emplace_back(View(argv[at]));
  if (run.timeout_ms > 0) input.deadline = DeadlineIn(std::chrono::milliseconds(run.timeout_ms));
  return input;
}

// Queued at once when the program is there, else when it has been loaded.
void Queue(std::shared_ptr<Executable> executable, std::unique_ptr<Task> task) {
  WorkQueue* queue = &state().device_queues.For(executable->device());
  auto held = std::make_shared<std::unique_ptr<Task>>(std::move(task));
  bool unloaded = executable->WhenSettled([queue, held] { queue->Push(std::move(*held)); });
  if (unloaded) LoadInBackground(executable);
}

}  // namespace

int Execute(RedisModuleCtx* context, RedisModuleString** argv, std::shared_ptr<Executable> executable,
            const RunWords& run) {
  auto input = TakeInput(context, argv, run);
  if (!input.ok()) return Reply(context, input.status());
  auto task = std::make_unique<Execution>(context, executable, std::move(*input));
  Queue(std::move(executable), std::move(task));
  return redis::kOk;
}

}  // namespace penstock

#include "script_host.h"

#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "arguments.h"
#include "backend_bytes.h"
#include "background_load.h"
#include "held_string.h"
#include "model_type.h"
#include "module_state.h"
#include "script_rights.h"
#include "server_lock.h"
#include "watch.h"

namespace penstock {
namespace {

using backend::Bytes;
using backend::ReplySink;

constexpr char kNoLock[] = "the run was canceled or the server is shutting down";

// Counts one run of a model by what passes through: as a client's run would be counted.
class CountingSink final : public backend::Sink {
 public:
  CountingSink(RunStats& stats, backend::Sink& to) : stats_(stats), to_(to) {}
  ~CountingSink() {
    stats_.calls += 1;
    stats_.errors += failed_ ? 1 : 0;
    stats_.samples += failed_ ? 0 : rows_;
    auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start_);
    stats_.duration_us += took.count();
  }
  CountingSink(const CountingSink&) = delete;
  CountingSink& operator=(const CountingSink&) = delete;
  void Tensor(const backend::TensorView& tensor) override {
    Note(tensor);
    to_.Tensor(tensor);
  }
  void Keep(const backend::TensorView& shape, backend::Resident* array) override {
    Note(shape);
    to_.Keep(shape, array);
  }
  void Name(Bytes name) override { to_.Name(name); }
  void Error(Bytes text) override {
    failed_ = true;
    to_.Error(text);
  }

 private:
  void Note(const backend::TensorView& output) {
    if (rows_ == 0) rows_ = output.rank == 0 ? 1 : output.dims[0];  // the first output says it
  }
  RunStats& stats_;
  backend::Sink& to_;
  Clock::time_point start_ = Clock::now();
  int64_t rows_ = 0;
  bool failed_ = false;
};

// A model's run within a script's: it ends with the script's, or when its own time is over.
class LimitedRun {
 public:
  LimitedRun(CancellationPtr script, std::optional<std::chrono::milliseconds> limit)
      : script_(std::move(script)) {
    handle_ = script_->Add([own = own_] { own->Cancel(); });
    auto due = limit ? DeadlineIn(*limit) : std::nullopt;
    if (due) alarm_ = state().runs.watch().At(*due, [own = own_] { own->Cancel(); });
  }
  ~LimitedRun() {
    script_->Remove(handle_);
    if (alarm_) state().runs.watch().Forget(*alarm_);
  }
  LimitedRun(const LimitedRun&) = delete;
  LimitedRun& operator=(const LimitedRun&) = delete;
  const CancellationPtr& cancellation() const { return own_; }

 private:
  const CancellationPtr script_;
  const CancellationPtr own_ = std::make_shared<Cancellation>();
  uint64_t handle_;
  std::optional<Watch::Handle> alarm_;
};

// `ERR ` in front of a text says nothing to a script.
std::string_view WithoutCode(std::string_view text) {
  return text.substr(0, 4) == "ERR " ? text.substr(4) : text;
}

void Tell(RedisModuleCallReply* reply, ReplySink& to) {
  size_t size = 0;
  int type = redis::CallReplyType(reply);
  if (type == redis::kReplyInteger) return to.Integer(redis::CallReplyInteger(reply));
  if (type == redis::kReplyArray) {
    size_t length = redis::CallReplyLength(reply);
    to.Array(length);
    for (size_t i = 0; i < length; ++i) Tell(redis::CallReplyArrayElement(reply, i), to);
    return;
  }
  if (type != redis::kReplyString && type != redis::kReplyError) return to.Nil();
  const char* text = redis::CallReplyStringPtr(reply, &size);
  if (type == redis::kReplyString) return to.String({text, size});
  while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) --size;
  to.Error(ToBytes(WithoutCode({text, size})));
}

void Call(RedisModuleCtx* context, const std::vector<RedisModuleString*>& words, ReplySink& reply) {
  std::string name(View(words[0]));
  errno = 0;
  auto* answer = redis::Call(context, name.c_str(), CallFormat(), words.data() + 1, words.size() - 1);
  if (answer == nullptr) return reply.Error(ToBytes(WhyNotCalled(errno)));
  Tell(answer, reply);
  redis::FreeCallReply(answer);
}

}  // namespace

ScriptHost::ScriptHost(RedisModuleCtx* context, CancellationPtr cancellation, May may)
    : database_(redis::GetSelectedDb(context)),
      user_(UserName(context)),
      cancellation_(std::move(cancellation)),
      may_(may) {}

void ScriptHost::RunCommand(const Bytes* arguments, size_t count, ReplySink& reply) {
  if (may_ == May::kModels) return reply.Error(ToBytes("a read-only DAG's scripts run no commands"));
  ServerLock lock(*cancellation_, ServerLock::For::kCommands);
  if (!lock) return reply.Error(ToBytes(kNoLock));
  Database database(database_);
  std::vector<RedisModuleString*> words;
  for (size_t i = 0; i < count; ++i) {
    words.push_back(redis::CreateString(nullptr, arguments[i].data, arguments[i].size));
  }
  Status allowed = MayCall(database.context(), user_, words);
  if (allowed.ok()) allowed = FitsScripts(database.context(), words[0]);
  if (!allowed.ok()) {
    reply.Error(ToBytes(WithoutCode(allowed.Line())));
  } else {
    Call(database.context(), words, reply);
  }
  for (RedisModuleString* word : words) redis::FreeString(nullptr, word);
}

// What the user may not run by AI.MODELEXECUTE, no script runs for them.
Result<ModelPtr> ScriptHost::FindModel(std::string_view key) const {
  ServerLock lock(*cancellation_, ServerLock::For::kLooking);
  if (!lock) return Status::Error(kNoLock);
  Database database(database_);
  std::vector<HeldString> words;
  for (std::string_view word :
       {std::string_view("AI.MODELEXECUTE"), key, std::string_view("INPUTS"), std::string_view("1"), key,
        std::string_view("OUTPUTS"), std::string_view("1"), key})
    words.push_back(HeldString::Copy(word));
  std::vector<RedisModuleString*> command;
  for (const HeldString& word : words) command.push_back(word.get());
  Status allowed = MayCall(database.context(), user_, command);
  if (!allowed.ok()) return allowed;
  return GetModel(database.context(), command[1]);
}

// The loader loads it, not this thread: a load cannot be canceled, waiting for it can.
Result<ProgramPtr> ScriptHost::Loaded(const ModelPtr& model) const {
  if (model->WhenSettled([] {})) LoadInBackground(model);
  while (!model->settled()) {
    if (IsOver(*cancellation_)) return Status::Error(kNoLock);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return model->Settle();
}

void ScriptHost::RunModel(Bytes key, const backend::TensorView* inputs, size_t input_count,
                          size_t output_count, backend::Sink& outputs) {
  auto model = FindModel({key.data, key.size});
  if (!model.ok()) return outputs.Error(ToBytes(model.status().Line()));
  auto program = Loaded(*model);
  if (!program.ok()) return outputs.Error(ToBytes(program.status().text()));
  LimitedRun limited(cancellation_, state().options.RunLimit((*model)->backend()));
  AllCanceled canceler({limited.cancellation()}, nullptr);
  CountingSink counted((*model)->stats(), outputs);
  backend::Call call{};
  call.inputs = inputs;
  call.input_count = input_count;
  call.output_count = output_count;
  call.canceler = &canceler;
  call.memory_left = SpareMemory();
  (*program)->Run(call, counted);
}

}  // namespace penstock

#include "storing.h"

#include "blocked.h"
#include "held_string.h"
#include "model_type.h"
#include "module_state.h"
#include "reply.h"
#include "script_type.h"

namespace penstock {
namespace {

// What differs between the two kinds.
struct ModelKind {
  using Value = Model;
  static Pending<Model>& pending() { return state().pending_models; }
  static Result<ModelPtr> Find(RedisModuleCtx* context, RedisModuleString* key) {
    return FindModel(context, key);
  }
  static Status Set(RedisModuleCtx* context, RedisModuleString* key, ModelPtr value) {
    return SetModel(context, key, std::move(value));
  }
};

struct ScriptKind {
  using Value = Script;
  static Pending<Script>& pending() { return state().pending_scripts; }
  static Result<ScriptPtr> Find(RedisModuleCtx* context, RedisModuleString* key) {
    return FindScript(context, key);
  }
  static Status Set(RedisModuleCtx* context, RedisModuleString* key, ScriptPtr value) {
    return SetScript(context, key, std::move(value));
  }
};

void PushToLoader(RedisModuleCtx*, void* data) {
  state().loader.Push(std::unique_ptr<Task>(static_cast<Task*>(data)));
}

// By a timer, see above.
void LoadAfterCommand(RedisModuleCtx* context, std::unique_ptr<Task> task) {
  redis::CreateTimer(context, 0, PushToLoader, task.release());
}

Status Load(Executable& executable) {
  Status status = executable.Settle().status();
  if (!status.ok()) redis::Log(nullptr, "warning", "cannot load what was stored: %s", status.text().c_str());
  return status;
}

class BackgroundLoad : public Task {
 public:
  explicit BackgroundLoad(std::shared_ptr<Executable> executable) : executable_(std::move(executable)) {}
  void Run() override { (void)Load(*executable_); }  // whoever runs it hears of an error
  void NotRun(Skip) override {}
  void Deliver(std::unique_ptr<Task>) override {}

 private:
  std::shared_ptr<Executable> executable_;
};

template <class Kind>
class StoreTask : public BlockedTask {
 public:
  using ValuePtr = std::shared_ptr<typename Kind::Value>;

  StoreTask(RedisModuleCtx* context, RedisModuleString** argv, int argc, ValuePtr value)
      : BlockedTask(context), value_(std::move(value)) {
    for (int i = 0; i < argc; ++i) argv_.emplace_back(argv[i]);
    Kind::pending()[place()] = value_;
  }
  void Run() override { status_ = Load(*value_); }
  void NotRun(Skip) override {}  // never: it has no deadline and cannot be abandoned
  bool abandoned() const override { return false; }

 protected:
  void Finish() override {
    auto pending = Kind::pending().find(place());
    if (pending != Kind::pending().end() && pending->second == value_) Kind::pending().erase(pending);
    if (!status_.ok()) return;
    Database database(this->database());
    status_ = Kind::Set(database.context(), argv_[1].get(), value_);
    if (status_.ok()) Replicate(database.context());
  }
  int Answer(RedisModuleCtx* context) override { return Reply(context, status_); }

 private:
  std::pair<int, std::string> place() const { return {database(), std::string(argv_[1].view())}; }
  void Replicate(RedisModuleCtx* context) {
    std::vector<RedisModuleString*> words;
    for (size_t i = 1; i < argv_.size(); ++i) words.push_back(argv_[i].get());
    std::string name = UpperCase(argv_[0].view());
    redis::Replicate(context, name.c_str(), "v", words.data(), words.size());
  }

  std::vector<HeldString> argv_;
  ValuePtr value_;
  Status status_ = Status::Ok();
};

template <class Kind>
int Store(RedisModuleCtx* context, RedisModuleString** argv, int argc,
          std::shared_ptr<typename Kind::Value> value) {
  auto before = Kind::Find(context, argv[1]);
  if (!before.ok()) return Reply(context, before.status());
  if (MayBlock(context)) {
    LoadAfterCommand(context, std::make_unique<StoreTask<Kind>>(context, argv, argc, std::move(value)));
    return redis::kOk;
  }
  Status status = Kind::Set(context, argv[1], value);
  if (!status.ok()) return Reply(context, status);
  LoadAfterCommand(context, std::make_unique<BackgroundLoad>(value));
  redis::ReplicateVerbatim(context);
  return Reply(context, Status::Ok());
}

}  // namespace

int StoreModel(RedisModuleCtx* context, RedisModuleString** argv, int argc, ModelPtr model) {
  return Store<ModelKind>(context, argv, argc, std::move(model));
}

int StoreScript(RedisModuleCtx* context, RedisModuleString** argv, int argc, ScriptPtr script) {
  return Store<ScriptKind>(context, argv, argc, std::move(script));
}

void LoadInBackground(std::shared_ptr<Executable> executable) {
  state().loader.Push(std::make_unique<BackgroundLoad>(std::move(executable)));
}

}  // namespace penstock

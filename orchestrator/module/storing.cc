#include "storing.h"

#include <atomic>

#include "background_load.h"
#include "blocked.h"
#include "followers.h"
#include "held_string.h"
#include "model_type.h"
#include "module_state.h"
#include "reply.h"
#include "retiring.h"
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
  static size_t FileWords(const Model& value) { return value.definition().file->pieces().size(); }
  static void AddFile(const Model& value, std::vector<HeldString>* words) {
    if (value.definition().file->on_disk()) return AddFileWords(value.definition(), words);
    for (const BufferPtr& piece : value.definition().file->pieces()) {
      auto* held = dynamic_cast<const StringBuffer*>(piece.get());
      words->push_back(held != nullptr ? HeldString(held->string()) : HeldString::Copy(piece->view()));
    }
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
  static size_t FileWords(const Script&) { return 0; }
  static void AddFile(const Script&, std::vector<HeldString>*) {}
};

void PushToLoader(RedisModuleCtx*, void* data) {
  state().loader.Push(std::unique_ptr<Task>(static_cast<Task*>(data)));
}

// By a timer, see storing.h.
void LoadAfterCommand(RedisModuleCtx* context, std::unique_ptr<Task> task) {
  redis::CreateTimer(context, 0, PushToLoader, task.release());
}

// Delivers a store once, for whichever thread asks first.
class FirstOfTwo {
 public:
  explicit FirstOfTwo(std::unique_ptr<Blocked> store) : store_(store.release()) {}
  ~FirstOfTwo() { delete store_.load(); }
  FirstOfTwo(const FirstOfTwo&) = delete;
  FirstOfTwo& operator=(const FirstOfTwo&) = delete;
  void Deliver() {
    std::unique_ptr<Blocked> store(store_.exchange(nullptr));
    if (store != nullptr) Blocked::Deliver(std::move(store));
  }

 private:
  std::atomic<Blocked*> store_;
};

template <class Kind>
class BlockedStore : public Blocked {
 public:
  using ValuePtr = std::shared_ptr<typename Kind::Value>;

  BlockedStore(RedisModuleCtx* context, RedisModuleString** argv, int argc, ValuePtr value)
      : Blocked(context), value_(std::move(value)) {
    // Not the file, whose memory the loader may want to give back.
    int kept = argc - static_cast<int>(Kind::FileWords(*value_));
    for (int i = 0; i < kept; ++i) argv_.emplace_back(argv[i]);
    Kind::pending()[place()] = value_;
  }
  ~BlockedStore() override { Retire(std::move(value_)); }

 protected:
  bool Writes() const override { return true; }
  void Finish() override {
    auto pending = Kind::pending().find(place());
    if (pending != Kind::pending().end() && pending->second == value_) Kind::pending().erase(pending);
    if (value_->settled()) status_ = value_->Settle().status();
    if (!status_.ok()) return;
    Database database(this->database());
    status_ = RefuseOnReplica(database.context());  // it may have become one while the model was loading
    if (status_.ok()) status_ = Kind::Set(database.context(), argv_[1].get(), value_);
    if (status_.ok()) Replicate(database.context());
  }
  int Answer(RedisModuleCtx* context) override { return Reply(context, status_); }
  void OnGone() override {}  // it is stored all the same

 private:
  std::pair<int, std::string> place() const { return {database(), std::string(argv_[1].view())}; }
  // Where nobody follows the server it counts the change and drops the words: then the file is not fetched.
  void Replicate(RedisModuleCtx* context) {
    if (SomebodyFollows(context)) Kind::AddFile(*value_, &argv_);
    std::vector<RedisModuleString*> words;
    for (size_t i = 1; i < argv_.size(); ++i) words.push_back(argv_[i].get());
    std::string name = UpperCase(argv_[0].view());
    redis::Replicate(context, name.c_str(), "v", words.data(), words.size());
  }

  std::vector<HeldString> argv_;
  ValuePtr value_;
  Status status_ = Status::Ok();
};

void OnTimeout(RedisModuleCtx*, void* data) {
  std::unique_ptr<std::shared_ptr<FirstOfTwo>> waiting(static_cast<std::shared_ptr<FirstOfTwo>*>(data));
  (*waiting)->Deliver();
}

template <class Kind>
int Store(RedisModuleCtx* context, RedisModuleString** argv, int argc,
          std::shared_ptr<typename Kind::Value> value) {
  auto before = Kind::Find(context, argv[1]);
  if (!before.ok()) return Reply(context, before.status());
  if (MayBlock(context)) {
    auto waiting =
        std::make_shared<FirstOfTwo>(std::make_unique<BlockedStore<Kind>>(context, argv, argc, value));
    value->WhenSettled([waiting] { waiting->Deliver(); });
    redis::CreateTimer(context, state().options.store_timeout_ms, OnTimeout,
                       new std::shared_ptr<FirstOfTwo>(waiting));
    LoadAfterCommand(context, BackgroundLoad(value));
    return redis::kOk;
  }
  Status status = Kind::Set(context, argv[1], value);
  if (!status.ok()) return Reply(context, status);
  if (IsLoading(context)) return Reply(context, Status::Ok());  // as from an RDB file: loaded when it is run
  LoadAfterCommand(context, BackgroundLoad(value));
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

}  // namespace penstock

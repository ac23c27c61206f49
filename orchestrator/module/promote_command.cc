// PENSTOCK.PROMOTE: one key becomes what another is, a model and one version of it.
//
// DESIGN
//   Both keys hold the same shared_ptr from then on: nothing is sent, copied or loaded, runs in flight end on
//   what they began with, and both count their runs together. A model must have loaded before it is promoted,
//   so that a version that does not load never takes the place of one that does: a client waits for the load.
//   What comes from a master or from the append-only file is obeyed at once, for there it had loaded. CHECK
//   does all but the last step: a client asks every shard of a cluster first, and then has all of them swap
//   in one turn.
#include "background_load.h"
#include "blocked.h"
#include "commands.h"
#include "held_string.h"
#include "model_type.h"
#include "module_state.h"
#include "reply.h"
#include "retiring.h"

namespace penstock {
namespace {

std::string Quoted(std::string_view key) { return "'" + std::string(key) + "'"; }

bool IsTold(RedisModuleCtx* context) {
  return (redis::GetContextFlags(context) & (redis::kReplicated | redis::kLoading)) != 0;
}

// A store that has not been answered yet has put nothing into its key.
Result<ModelPtr> FindVersion(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindModel(context, key);
  if (!found.ok()) return found.status();
  if (*found == nullptr)
    return Status::Error("cannot promote " + Quoted(View(key)) + ": there is no such model");
  if (!GetStoredModel(context, key).ok())
    return Status::Error("cannot promote " + Quoted(View(key)) + ": it is still being stored");
  return GetModel(context, key);  // loaded anew where there was no memory for it
}

// Of a model that is settled.
Status CheckLoaded(const ModelPtr& model, RedisModuleString* key) {
  Status status = model->Settle().status();
  if (status.ok()) return status;
  return Status::Error("cannot promote " + Quoted(View(key)) + ", it does not load: " + status.text());
}

// Puts it into its key once it has loaded.
class Promotion : public Blocked {
 public:
  Promotion(RedisModuleCtx* context, RedisModuleString** argv, ModelPtr model, bool only_check)
      : Blocked(context),
        name_(argv[1]),
        version_(argv[2]),
        model_(std::move(model)),
        only_check_(only_check) {}
  ~Promotion() override { Retire(std::move(model_)); }

 protected:
  bool Writes() const override { return !only_check_; }
  void Finish() override {
    Database database(this->database());
    status_ = Promote(database.context());
  }
  int Answer(RedisModuleCtx* context) override { return Reply(context, status_); }
  void OnGone() override {}  // it is promoted all the same

 private:
  Status Promote(RedisModuleCtx* context) {
    Status status = CheckLoaded(model_, version_.get());
    if (!status.ok() || only_check_) return status;
    status = RefuseOnReplica(context);  // it may have become one meanwhile
    if (!status.ok()) return status;
    auto now = GetStoredModel(context, version_.get());
    if (!now.ok() || *now != model_)
      return Status::Error("cannot promote " + Quoted(version_.view()) + ": it was replaced meanwhile");
    status = SetModel(context, name_.get(), model_);
    if (status.ok()) redis::Replicate(context, "PENSTOCK.PROMOTE", "ss", name_.get(), version_.get());
    return status;
  }

  HeldString name_;
  HeldString version_;
  ModelPtr model_;
  const bool only_check_;
  Status status_ = Status::Ok();
};

int PromoteNow(RedisModuleCtx* context, RedisModuleString** argv, ModelPtr model, bool only_check) {
  Status status = IsTold(context) ? Status::Ok() : CheckLoaded(model, argv[2]);
  if (!status.ok() || only_check) return Reply(context, status);
  status = SetModel(context, argv[1], std::move(model));
  if (status.ok()) redis::ReplicateVerbatim(context);
  return Reply(context, status);
}

int PromoteWhenLoaded(RedisModuleCtx* context, RedisModuleString** argv, const ModelPtr& model,
                      bool only_check) {
  auto waiting = std::make_shared<std::unique_ptr<Blocked>>(
      std::make_unique<Promotion>(context, argv, model, only_check));
  bool unloaded = model->WhenSettled([waiting] { Blocked::Deliver(std::move(*waiting)); });
  if (unloaded) LoadInBackground(model);
  return redis::kOk;
}

}  // namespace

// name version [CHECK]
int Promote(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 3 || argc > 4) return WrongArity(context, argv[0]);
  bool only_check = argc == 4;
  if (only_check && !EqualsAnyCase(View(argv[3]), "CHECK"))
    return Reply(context, Status::Error("behind the version comes CHECK, or nothing"));
  auto before = FindModel(context, argv[1]);
  if (!before.ok()) return Reply(context, before.status());
  auto version = FindVersion(context, argv[2]);
  if (!version.ok()) return Reply(context, version.status());
  if (IsTold(context) || (*version)->settled()) return PromoteNow(context, argv, *version, only_check);
  if (MayBlock(context)) return PromoteWhenLoaded(context, argv, *version, only_check);
  return Reply(context, Status::Error("cannot promote " + Quoted(View(argv[2])) +
                                      " within a transaction or a script: it is not loaded yet"));
}

}  // namespace penstock

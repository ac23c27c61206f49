// AI._MODELSCAN and AI._SCRIPTSCAN: the key and the tag of each model or script in the client's database.
//
// DESIGN
//   The server keeps no list by type, so the whole database is walked, as SCAN does: what is there from
//   beginning to end is found. It is walked in slices of half a millisecond, one in each turn of the event
//   loop, so others wait no longer than that for a database of any size; who asks waits some seconds for a
//   million keys. Where nobody can be made to wait (a transaction, Lua) it is walked at once. Main thread
//   only.
#include <chrono>
#include <map>
#include <string>

#include "blocked.h"
#include "commands.h"
#include "held_string.h"
#include "model_type.h"
#include "module_state.h"
#include "reply.h"
#include "script_type.h"

namespace penstock {
namespace {

constexpr auto kSlice = std::chrono::microseconds(500);

using Found = std::map<std::string, std::string>;  // key, tag
using TagOf = std::optional<std::string> (*)(RedisModuleKey*);

std::optional<std::string> TagOfModel(RedisModuleKey* key) {
  const Model* model = ModelIn(key);
  return model == nullptr ? std::nullopt : std::optional(model->tag());
}

std::optional<std::string> TagOfScript(RedisModuleKey* key) {
  const Script* script = ScriptIn(key);
  return script == nullptr ? std::nullopt : std::optional(script->tag());
}

class Walk {
 public:
  explicit Walk(TagOf tag_of) : tag_of_(tag_of), cursor_(redis::ScanCursorCreate()) {}
  ~Walk() { redis::ScanCursorDestroy(cursor_); }
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;
  /// True when all has been seen.
  bool Until(Clock::time_point end, RedisModuleCtx* context) {
    while (redis::Scan(context, cursor_, OnKey, this) != 0) {
      if (Clock::now() >= end) return false;
    }
    return true;
  }
  const Found& found() const { return found_; }

 private:
  static void OnKey(RedisModuleCtx*, RedisModuleString* name, RedisModuleKey* key, void* data) {
    auto* walk = static_cast<Walk*>(data);
    auto tag = key == nullptr ? std::nullopt : walk->tag_of_(key);
    if (tag) walk->found_.insert_or_assign(std::string(View(name)), std::move(*tag));
  }

  TagOf tag_of_;
  RedisModuleScanCursor* cursor_;
  Found found_;
};

int ReplyFound(RedisModuleCtx* context, const Found& found) {
  redis::ReplyWithArray(context, static_cast<long>(found.size()));
  for (const auto& [key, tag] : found) {
    redis::ReplyWithArray(context, 2);
    ReplyText(context, key);
    ReplyText(context, tag);
  }
  return redis::kOk;
}

// Walks a slice in each turn of the event loop.
class LongWalk : public Blocked {
 public:
  LongWalk(RedisModuleCtx* context, std::unique_ptr<Walk> walk) : Blocked(context), walk_(std::move(walk)) {}
  static void GoOn(RedisModuleCtx* context, std::unique_ptr<LongWalk> self) {
    redis::CreateTimer(context, 0, OnTurn, self.release());
  }

 protected:
  void Finish() override {}
  int Answer(RedisModuleCtx* context) override { return ReplyFound(context, walk_->found()); }
  void OnGone() override { gone_ = true; }

 private:
  static void OnTurn(RedisModuleCtx* context, void* data) {
    std::unique_ptr<LongWalk> self(static_cast<LongWalk*>(data));
    Database database(self->database());
    bool ended = self->gone_ || self->walk_->Until(Clock::now() + kSlice, database.context());
    if (ended) return Deliver(std::move(self));
    GoOn(context, std::move(self));
  }

  std::unique_ptr<Walk> walk_;
  bool gone_ = false;
};

int ScanKeys(RedisModuleCtx* context, RedisModuleString** argv, int argc, TagOf tag_of) {
  if (argc != 1) return WrongArity(context, argv[0]);
  auto walk = std::make_unique<Walk>(tag_of);
  bool may_wait = MayBlock(context);
  auto end = may_wait ? Clock::now() + kSlice : Clock::time_point::max();
  if (walk->Until(end, context)) return ReplyFound(context, walk->found());
  LongWalk::GoOn(context, std::make_unique<LongWalk>(context, std::move(walk)));
  return redis::kOk;
}

}  // namespace

int ModelScan(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return ScanKeys(context, argv, argc, TagOfModel);
}

int ScriptScan(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return ScanKeys(context, argv, argc, TagOfScript);
}

}  // namespace penstock

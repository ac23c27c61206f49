#include "reply.h"

#include "held_string.h"

namespace penstock {

Arguments Words(RedisModuleString** argv, int argc) {
  std::vector<std::string_view> words(static_cast<size_t>(argc));
  for (int i = 0; i < argc; ++i) words[static_cast<size_t>(i)] = View(argv[i]);
  return Arguments(std::move(words));
}

int WrongArity(RedisModuleCtx* context, std::string_view command) {
  return Reply(context, WrongNumberOfArguments(command));
}

int WrongArity(RedisModuleCtx* context, const RedisModuleString* command) {
  return WrongArity(context, View(command));
}

int Reply(RedisModuleCtx* context, const Status& status) {
  if (status.ok()) return redis::ReplyWithSimpleString(context, "OK");
  std::string line = status.Line();
  for (char& c : line) {
    if (c == '\r' || c == '\n' || c == '\0') c = ' ';  // would end the reply early
  }
  return redis::ReplyWithError(context, line.c_str());
}

int ReplyText(RedisModuleCtx* context, std::string_view text) {
  return redis::ReplyWithStringBuffer(context, text.data(), text.size());
}

bool IsLoading(RedisModuleCtx* context) { return (redis::GetContextFlags(context) & redis::kLoading) != 0; }

bool MayBlock(RedisModuleCtx* context) {
  constexpr int kNever =
      redis::kLua | redis::kMulti | redis::kReplicated | redis::kLoading | redis::kDenyBlocking;
  return (redis::GetContextFlags(context) & kNever) == 0;
}

Status RefuseToBlock() {
  return Status::Error("Cannot run RedisAI command within a transaction or a LUA script");
}

bool IsInScript(RedisModuleCtx* context) { return (redis::GetContextFlags(context) & redis::kLua) != 0; }

Status RefuseInScript() {
  return Status::Error("not in a script: what it gives belongs to a connection and ends with that");
}

Status RefuseOnReplica(RedisModuleCtx* context) {
  bool refused = (redis::GetContextFlags(context) & redis::kReadOnly) != 0;
  bool hands_over = redis::AvoidReplicaTraffic() != 0;
  if (!refused && hands_over)
    return Status::Coded("TRYAGAIN", "Writes are paused, a replica may be taking over: nothing was stored");
  return refused ? Status::Coded("READONLY", "You can't write against a read only replica.") : Status::Ok();
}

int TellKeys(RedisModuleCtx* context, Result<RunWords>& run) {
  std::vector<size_t> keys{1};
  if (!run.ok()) return TellKeys(context, keys);  // the command itself says what is wrong
  for (const auto* positions : {&run->keys, &run->inputs, &run->outputs}) {
    keys.insert(keys.end(), positions->begin(), positions->end());
  }
  return TellKeys(context, keys);
}

int TellKeys(RedisModuleCtx* context, const std::vector<size_t>& positions) {
  for (size_t at : positions) redis::KeyAtPos(context, static_cast<int>(at));
  return redis::kOk;
}

}  // namespace penstock

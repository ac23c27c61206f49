#include "reply.h"

#include "held_string.h"

namespace penstock {

Arguments Words(RedisModuleString** argv, int argc) {
  std::vector<std::string_view> words(static_cast<size_t>(argc));
  for (int i = 0; i < argc; ++i) words[static_cast<size_t>(i)] = View(argv[i]);
  return Arguments(std::move(words));
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

bool MayBlock(RedisModuleCtx* context) {
  constexpr int kNever =
      redis::kLua | redis::kMulti | redis::kReplicated | redis::kLoading | redis::kDenyBlocking;
  return (redis::GetContextFlags(context) & kNever) == 0;
}

Status RefuseToBlock() {
  return Status::Error("Cannot run RedisAI command within a transaction or a LUA script");
}

int TellKeys(RedisModuleCtx* context, Result<RunWords>& run) {
  redis::KeyAtPos(context, 1);
  if (!run.ok()) return redis::kOk;  // the command itself says what is wrong
  for (const auto* positions : {&run->keys, &run->inputs, &run->outputs}) {
    for (size_t at : *positions) redis::KeyAtPos(context, static_cast<int>(at));
  }
  return redis::kOk;
}

}  // namespace penstock

// What all commands share: their words, one reply, who may block.
#pragma once

#include <string_view>

#include "arguments.h"
#include "redis_api.h"
#include "run_words.h"
#include "status.h"

namespace penstock {

Arguments Words(RedisModuleString** argv, int argc);
/// Names the command in upper case, however it was typed: some servers do not.
int WrongArity(RedisModuleCtx* context, std::string_view command);
int WrongArity(RedisModuleCtx* context, const RedisModuleString* command);
/// The one place where an error is written to a client. OK is answered by `+OK`.
int Reply(RedisModuleCtx* context, const Status& status);
int ReplyText(RedisModuleCtx* context, std::string_view text);
/// The server reads its files, and nothing else goes on in it: no timer, no cron.
bool IsLoading(RedisModuleCtx* context);
/// Not within MULTI, Lua or another command, and not for the master or the append-only file.
bool MayBlock(RedisModuleCtx* context);
Status RefuseToBlock();
/// A script has no connection of its own, with which what is promised or leased would end.
bool IsInScript(RedisModuleCtx* context);
Status RefuseInScript();
/// What was begun on a master and ends on its replica must change nothing. Nor while a replica is taking
/// over: it waits for this server's last word, and would wait in vain if more came.
Status RefuseOnReplica(RedisModuleCtx* context);
/// Answers a request for a run's keys: its model or script, and all inputs, outputs and declared keys.
int TellKeys(RedisModuleCtx* context, Result<RunWords>& run);
int TellKeys(RedisModuleCtx* context, const std::vector<size_t>& positions);

}  // namespace penstock

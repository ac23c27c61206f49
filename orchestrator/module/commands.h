// Every command of the module, and what they share: words, one reply, who may block.
#pragma once

#include "arguments.h"
#include "model.h"
#include "redis_api.h"
#include "status.h"

namespace penstock {

int TensorSet(RedisModuleCtx*, RedisModuleString**, int);
int TensorGet(RedisModuleCtx*, RedisModuleString**, int);
int ModelStore(RedisModuleCtx*, RedisModuleString**, int);
int ModelGet(RedisModuleCtx*, RedisModuleString**, int);
int ModelDel(RedisModuleCtx*, RedisModuleString**, int);
int ModelExecute(RedisModuleCtx*, RedisModuleString**, int);
int ScriptStore(RedisModuleCtx*, RedisModuleString**, int);
int ScriptSet(RedisModuleCtx*, RedisModuleString**, int);
int ScriptGet(RedisModuleCtx*, RedisModuleString**, int);
int ScriptDel(RedisModuleCtx*, RedisModuleString**, int);
int ScriptExecute(RedisModuleCtx*, RedisModuleString**, int);
int ScriptRun(RedisModuleCtx*, RedisModuleString**, int);
int RunInfo(RedisModuleCtx*, RedisModuleString**, int);
int Config(RedisModuleCtx*, RedisModuleString**, int);

Arguments Words(RedisModuleString** argv, int argc);
/// The one place where an error is written to a client. OK is answered by `+OK`.
int Reply(RedisModuleCtx* context, const Status& status);
int ReplyText(RedisModuleCtx* context, std::string_view text);
/// Not within MULTI, Lua or another command, and not for the master or the append-only file.
bool MayBlock(RedisModuleCtx* context);
Status RefuseToBlock();
/// Answers a request for a run's keys: its model or script, and all inputs, outputs and declared keys.
int TellKeys(RedisModuleCtx* context, Result<RunWords>& run);

}  // namespace penstock

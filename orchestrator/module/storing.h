// Storing a model or a script: loaded by the loader thread, put into its key when that has gone well.
//
// DESIGN
//   The client is blocked until the file is loaded, so that it hears what is wrong with it. SmartRedis gives
//   up on a reply after SR_SOCKET_TIMEOUT and sends the whole command again; Penstock's launcher sets that
//   high. For programs that run without it: a store goes on when its client leaves, and the same file sent
//   again while the first is loading, or after, takes the loaded program instead of loading twice. Where
//   nobody can be blocked (a transaction, Lua, the master's stream, the append-only file) the value is put
//   into its key at once and loads in the background; runs wait for it, and say what was wrong. The load
//   begins in the next turn of the event loop: until the command is over Redis may move its arguments.
#pragma once

#include "model.h"
#include "redis_api.h"
#include "script.h"

namespace penstock {

/// Stores and answers, now or later. `argv` is replicated as it stands.
int StoreModel(RedisModuleCtx* context, RedisModuleString** argv, int argc, ModelPtr model);
int StoreScript(RedisModuleCtx* context, RedisModuleString** argv, int argc, ScriptPtr script);

/// Settles in the background, on the loader thread.
void LoadInBackground(std::shared_ptr<Executable> executable);

}  // namespace penstock

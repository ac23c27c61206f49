// Storing a model or a script: loaded by a loader, put into its key when it has loaded or soon
// after.
//
// DESIGN
//   The client is blocked until the file is loaded, so that it hears what is wrong with it, but not for
//   longer than MODEL_STORE_TIMEOUT: SmartRedis gives up on a reply after 250 ms and sends the whole command
//   again. Then the key is given the model that is still loading, and the client its OK. From that moment its
//   runs wait for the load, and say what was wrong with it; runs that began before end on the old model. They
//   are never answered by the old one after the OK: whoever stored a model may rely on its answers. Two
//   threads may end the wait, the loader (loaded) and the main one (the timer); FirstOfTwo lets one of them.
//   A store goes on when its client leaves, and the same file sent again while the first is loading, or
//   after, takes the loaded program instead of loading twice. Where nobody can be blocked (a transaction,
//   Lua, the master's stream, the append-only file) the value is put into its key at once. The load begins in
//   the next turn of the event loop: until the command is over Redis may move its arguments.
#pragma once

#include "model.h"
#include "redis_api.h"
#include "script.h"

namespace penstock {

/// Stores and answers, now or later. `argv` is replicated as it stands.
int StoreModel(RedisModuleCtx* context, RedisModuleString** argv, int argc, ModelPtr model);
int StoreScript(RedisModuleCtx* context, RedisModuleString** argv, int argc, ScriptPtr script);

}  // namespace penstock

// Scripts as values of Redis keys: the native type AI_SCRIPT.
#pragma once

#include "redis_api.h"
#include "script.h"

namespace penstock {

bool RegisterScriptType(RedisModuleCtx* context);

/// What the key holds, else what is being loaded for it, else null.
Result<ScriptPtr> FindScript(RedisModuleCtx* context, RedisModuleString* key);
/// What the key holds; says that it is empty when it is.
Result<ScriptPtr> GetStoredScript(RedisModuleCtx* context, RedisModuleString* key);
/// Like FindScript, for running: says that there is none when there is none.
Result<ScriptPtr> GetScript(RedisModuleCtx* context, RedisModuleString* key);
/// What an opened key holds, as long as it is open; null when that is something else.
const Script* ScriptIn(RedisModuleKey* key);
Status SetScript(RedisModuleCtx* context, RedisModuleString* key, ScriptPtr script);
Status DeleteScript(RedisModuleCtx* context, RedisModuleString* key);

}  // namespace penstock

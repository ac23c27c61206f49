// What a script may ask of the server: what its client may, and what no command of a script can do.
//
// DESIGN
//   Called on a worker under the server's lock. A command that a module calls runs with all rights, so what
//   is refused is refused before. Redis 7 answers for one user and one command, as the access lists stand at
//   this moment; it does not look into EVAL (which scripts may not call) nor into the patterns of SORT. Redis
//   6.2 cannot be asked: there only a user who may do everything runs commands and models from scripts.
//   Commands marked `noscript` (SYNC, WAIT, MULTI, EVAL, ...) want a client that stays; called by a module
//   some of them abort the server. Redis 7 refuses them itself, 6.2 tells who is marked.
#pragma once

#include <string>
#include <vector>

#include "redis_api.h"
#include "status.h"

namespace penstock {

/// Who sent the command; empty where the server cannot say it.
std::string UserName(RedisModuleCtx* context);

/// By the user's rights.
Status MayCall(RedisModuleCtx* context, const std::string& user, std::vector<RedisModuleString*>& command);

/// By what the command is, on a server that does not look itself.
Status FitsScripts(RedisModuleCtx* context, RedisModuleString* command);

/// How to call what these let through: replicated, refused like a command of Lua where the server can.
const char* CallFormat();

/// What a call that was refused left in errno.
std::string WhyNotCalled(int error);

}  // namespace penstock

// Scripts of the torch backend: TorchScript source, and what it may call.
//
// DESIGN
//   A script may call redis.execute, redis.asList and redisAI.model_execute. They are operators of torch,
//   registered once; which host answers them is a thread's own, set for as long as a script runs on it. A
//   script that runs a script through its host finds its own host again afterwards.
#pragma once

#include <memory>

#include "backend.h"

namespace penstock {

/// Throws what torch throws, and when an entry point is missing or takes other arguments.
std::unique_ptr<backend::Program> CompileTorchScript(const backend::ScriptSource& source);

}  // namespace penstock

// Running a model or a script on stored tensors, for a client that waits.
//
// DESIGN
//   Main thread: the inputs are looked up (they never change, so a shared_ptr is enough), the client is
//   blocked. The run goes through its device's queue (run_queues.h); when it is over, the main thread puts
//   the outputs into their keys, all or none, and replicates them as AI.TENSORSET. A client that disconnects
//   cancels its run. A run that is known to be short is done at once, on the main thread (inline_runs.h).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "arguments.h"
#include "executable.h"
#include "held_string.h"
#include "redis_api.h"
#include "run.h"
#include "run_words.h"

namespace penstock {

using ParseRun = Result<RunWords> (*)(Arguments);
using FindExecutable = Result<std::shared_ptr<Executable>> (*)(RedisModuleCtx*, RedisModuleString* key);

/// A whole command that runs what `find` finds under its first key: answers now with an error, or later with
/// the outcome; or tells the server its keys. It has `least` words, the command's name among them.
int Execute(RedisModuleCtx* context, RedisModuleString** argv, int argc, int least, ParseRun parse,
            FindExecutable find);

/// +OK, +TIMEDOUT or the error.
int ReplyOutcome(RedisModuleCtx* context, const RunResult& result);

/// Puts arrays in host memory into their keys and replicates them; all or none. Main thread.
Status StoreOutputs(RedisModuleCtx* context, const std::vector<HeldString>& keys,
                    const std::vector<RunArray>& arrays);

}  // namespace penstock

// Running a model or a script on stored tensors, for a client that waits.
//
// DESIGN
//   Main thread: the inputs are looked up (they never change, so a shared_ptr is enough), the client is
//   blocked. Worker: the inputs are copied to aligned memory, because held arguments start anywhere and a
//   model may write to what it is given; the program runs; each output becomes a Redis string, in the
//   server's own allocator. Main thread: the outputs are put into their keys, all or none, and replicated as
//   AI.TENSORSET. A run whose model is still loading is parked with the model, not with a worker.
#pragma once

#include <memory>

#include "executable.h"
#include "redis_api.h"
#include "run_words.h"

namespace penstock {

/// Answers now with an error, or later with the outcome. `argv` holds the words that `run` points into.
int Execute(RedisModuleCtx* context, RedisModuleString** argv, std::shared_ptr<Executable> executable,
            const RunWords& run);

}  // namespace penstock

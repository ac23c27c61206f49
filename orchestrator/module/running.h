// Running one program for one run, or for a batch of them, on the calling thread.
#pragma once

#include <vector>

#include "batch.h"
#include "run.h"

namespace penstock {

struct Outcome {
  Status status = Status::Ok();
  bool wrong_rows = false;  // not as many in an output as in the inputs
  bool loaded = true;
  bool busy = false;                           // nothing was done: it would have had to wait
  std::vector<std::vector<RunArray>> members;  // each one's outputs
};

/// The members fit together; their executable is loaded, or known not to load. `canceler` may be null.
Outcome RunTogether(const std::vector<RunPtr>& members, backend::Canceler* canceler);
/// The same on the main thread: busy where the backend would make it wait for another run.
Outcome RunTogetherNow(const std::vector<RunPtr>& members);

/// Counts the run, when it has begun, and tells who asked; nothing when it has been answered before.
void Answer(Run& run, RunResult result);

}  // namespace penstock

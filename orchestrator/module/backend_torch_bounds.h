// What keeps a torch run within bounds: memory, and the wish that it end.
//
// DESIGN
//   torch asks an allocator of ours for its CPU memory. It takes the server's, counts, and throws when it is
//   too much (allocation.h) or when the run of this thread has been cancelled. A loop that allocates
//   nothing would never come by, so each loop of TorchScript gets one more instruction at its head that asks
//   the same; a guarded loop is not guarded again. What a model forks is run on the spot, as part of its run.
//   Which run a thread is at is known by a RunningCall, for as long as that lives; a script that
//   runs a model on its own thread finds its own again afterwards.
#pragma once

#include <torch/script.h>

#include "allocation.h"
#include "backend.h"

namespace penstock {

/// Before torch allocates anything.
void InstallTorchAllocator(const backend::Settings& settings);

/// Lets torch.jit.fork run what it is given at once, on the thread that calls it. Before any code runs.
void ForkOnTheSpot();

class RunningCall {
 public:
  explicit RunningCall(const backend::Call& call);
  ~RunningCall();
  RunningCall(const RunningCall&) = delete;
  RunningCall& operator=(const RunningCall&) = delete;

 private:
  RunBudget budget_;
  backend::Canceler* before_;
};

/// Lets every loop of these functions, none of which has run yet, be ended from outside.
void GuardLoops(const torch::jit::CompilationUnit& unit);

}  // namespace penstock

// One run of a model or a script: what goes in, what comes out, and who is told.
//
// DESIGN
//   A RunRequest is the one element of a device's queue. Whoever makes it (a blocked client's command, a DAG
//   between two of its steps) hands it to RunQueues::Submit (run_queues.h) from any thread and is told once,
//   by `done`, on whatever thread knows first: a worker that ran it, the watch when its time is over, the
//   thread that submits when it is refused. `done` must therefore be quick and touch no key; it may submit
//   the next run. When the server leaves, what is still queued is destroyed without being told.
//   Ownership: tensors are shared and never change. A kept array belongs to the backend that made it and is
//   used by programs of that backend on that device only; anybody else gets its copy in host memory, widened
//   (widening.h) unless the run that made it was native.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend.h"
#include "cancellation.h"
#include "clock.h"
#include "executable.h"
#include "status.h"
#include "tensor.h"

namespace penstock {

/// An output that stayed where its backend made it. Immutable; any thread.
class KeptArray {
 public:
  KeptArray(const backend::TensorView& shape, std::unique_ptr<backend::Resident> array, BackendKind maker,
            std::string device, bool native);
  bool FitsInto(const Executable& executable) const;
  backend::TensorView view() const;
  Result<TensorPtr> ToHost() const;

 private:
  DataType type_;
  std::vector<int64_t> dims_;
  size_t bytes_;
  std::unique_ptr<backend::Resident> array_;
  BackendKind maker_;
  std::string device_;
  bool native_;
};

/// What goes into a run or comes out of one: exactly one of the two is set.
struct RunArray {
  TensorPtr tensor;
  std::shared_ptr<const KeptArray> kept;
  /// The tensor, copied from the backend's memory when it has stayed there.
  Result<TensorPtr> ToHost() const;
};

struct RunResult {
  Status status = Status::Ok();
  bool timed_out = false;         // the deadline passed: answered by TIMEDOUT, which is no error
  std::vector<RunArray> outputs;  // of a run that went well, as many as were asked for
};

struct RunRequest {
  std::shared_ptr<Executable> executable;  // its load may still be under way
  std::vector<RunArray> inputs;
  size_t output_count = 0;
  bool keep = false;    // outputs may stay in the backend's memory
  bool native = false;  // outputs in their own types, see widening.h
  // The next four are a script's only.
  std::string function;
  std::vector<std::string> keys;
  std::vector<std::string> texts;
  std::shared_ptr<backend::Host> host;
  uint64_t client = 0;                        // who asks; 0: nobody who could be told from others
  std::optional<Clock::time_point> deadline;  // of the whole, queue and run
  /// Longest time in the backend; none: any. Past it the run is an error and canceled.
  std::optional<std::chrono::milliseconds> limit;
  CancellationPtr cancellation;  // null: the one who asks never leaves
  std::function<void(RunResult)> done;
};

}  // namespace penstock

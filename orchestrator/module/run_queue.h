// The runs of one device: lanes, one per model or script, and the workers that empty them.
//
// DESIGN
//   A free worker takes the lane whose turn it is, from it the head and what may share its run (batch.h), and
//   puts the lane behind the others: models share a device evenly, however many runs each has. It copies the
//   inputs, runs the program, cuts the outputs and answers each run. Where other workers are idle, it leaves
//   them their share of a batch that takes long enough. When a batch fails, its members are run
//   singly, so that one bad input spoils no other's answer. Idle workers sleep on a condition variable; only
//   a model that waits for a batch of its least size wakes one by the clock.
//   A run is ended early by its Cancellation: a backend looks at it or is told. One that does not come back
//   within the grace time is written off: what it was to answer is answered with an error, and another worker
//   takes its place, a bounded number of times; a worker that was written off leaves when it comes back.
//   Locks: one mutex per queue; none is held while a program runs or a run is answered.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "batch.h"
#include "run.h"
#include "watch.h"

namespace penstock {

struct QueueSettings {
  int workers = 1;
  /// How long a canceled run may go on before its worker is written off.
  std::chrono::milliseconds grace{1000};
  int most_written_off = 8;  // per device, at any one time
  /// How long MINBATCHSIZE waits for others when no MINBATCHTIMEOUT is given.
  std::chrono::milliseconds patience{200};
  std::function<void(const std::string&)> log = [](const std::string&) {};
};

class RunQueue {
 public:
  RunQueue(std::string device, QueueSettings settings, std::shared_ptr<Watch> watch);
  ~RunQueue();
  /// The system gave it a thread.
  bool staffed() const;
  void Push(RunPtr run);
  /// Nothing of any other waits or runs.
  bool IsFreeFor(const Executable& executable) const;
  void Sweep();
  void Stop();
  bool Join(Clock::time_point deadline);

 private:
  struct Flight;
  struct Shared;  // outlives the queue for as long as a worker still uses it
  std::shared_ptr<Shared> shared_;
};

}  // namespace penstock

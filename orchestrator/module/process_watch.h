// Tells when processes end, without asking them again and again.
//
// DESIGN
//   A pidfd (Linux 5.3) names one process for good, whoever has its number later, and can be read when all of
//   the process's threads have ended: from then on it writes nothing. One thread sleeps on all of them.
//   Threads: any may call; `ended` is called on the watch's own thread, without a lock.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "clock.h"
#include "status.h"

namespace penstock {

/// What is told of the ends of processes.
class Processes {
 public:
  virtual ~Processes() = default;
  /// A serial number for the process `pid`, which is alive and of this user; an error when it is not.
  virtual Result<uint64_t> Watch(int64_t pid) = 0;
  /// It may have ended without having been told of yet.
  virtual bool HasEnded(uint64_t serial) = 0;
  /// Nobody wants to be told of it any more.
  virtual void Forget(uint64_t serial) = 0;
};

class ProcessWatch final : public Processes {
 public:
  using Ended = std::function<void(uint64_t serial)>;
  /// The system has pidfds and the thread has started; else the error.
  static Result<std::unique_ptr<ProcessWatch>> Start(Ended ended);
  ~ProcessWatch() override;
  Result<uint64_t> Watch(int64_t pid) override;
  bool HasEnded(uint64_t serial) override;
  void Forget(uint64_t serial) override;
  void Stop();
  /// True when the thread left before `deadline`.
  bool Join(Clock::time_point deadline);

 private:
  struct Shared;
  explicit ProcessWatch(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  const std::shared_ptr<Shared> shared_;  // outlives the watch for as long as its thread uses it
};

}  // namespace penstock

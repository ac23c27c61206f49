// One thread that does things at their time: ends runs whose deadline has come, writes off lost workers.
//
// DESIGN
//   The thread starts with the first thing to watch and sleeps until the earliest is due; something later
//   than that wakes nobody, and what is forgotten is not waited for again. Threads: any may call At and
//   Forget. What is due is called on the watch's own thread, without a lock, and may call back.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "clock.h"

namespace penstock {

class Watch {
 public:
  using Handle = std::pair<Clock::time_point, uint64_t>;
  Watch();
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  /// After Stop() nothing more is done.
  Handle At(Clock::time_point when, std::function<void()> what);
  /// It may be under way all the same.
  void Forget(const Handle& handle);
  void Stop();
  /// True when the thread left before `deadline`. Destroys what was still to come.
  bool Join(Clock::time_point deadline);

 private:
  void Start();
  struct Shared;  // outlives the watch for as long as its thread uses it
  std::shared_ptr<Shared> shared_;
};

}  // namespace penstock

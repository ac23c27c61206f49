// Which runs are known to be so short that the main thread may do them itself, without a wake-up.
//
// DESIGN
//   Known means measured: the last runs of this program with inputs of these shapes all stayed under the
//   bound. There are two: who has lately been the only one to ask for runs has the longer one. Runs that
//   batch are told apart by their number of rows, in powers of two; one is known when it or a larger one is,
//   and the next larger may be tried when a run takes no more than half the bound. On the main thread a run
//   may find cold caches, or a host that gives its processor to somebody else. So runs there are in debt by
//   what they take above the bound, and shorter ones pay it back; the trust in a size and all larger ones
//   ends when the debt is too large: for a second at first and twice as long each time. Then workers must
//   show it to be short again. Threads: workers and the main thread; one mutex.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "clock.h"
#include "recent.h"

namespace penstock {

/// How long something takes this thread, without what others took from it: a thread that had to wait for its
/// processor has not run for long. Where that would make very much of a difference, it is not forgiven, nor
/// where the thread slept, such as for a lock.
class Stopwatch {
 public:
  Stopwatch();
  Clock::duration taken() const;

 private:
  Clock::time_point began_;
  Clock::duration used_;
  int64_t sleeps_;
};

/// Which runs stay under one bound.
class ShortRuns {
 public:
  static constexpr std::chrono::microseconds kMostDebt{1000};
  static constexpr int kRunsToKnow = 8;
  explicit ShortRuns(Clock::duration bound) : bound_(bound) {}

  /// A run of `rows` rows took so long, on a worker. `shape` names the inputs' types and dimensions.
  void Measured(uint64_t shape, int64_t rows, Clock::duration took);
  /// The same on the main thread; `now` is when it ended.
  void MeasuredHere(uint64_t shape, int64_t rows, Clock::duration took, Clock::time_point now);
  bool MayRunHere(uint64_t shape, int64_t rows, Clock::time_point now) const;

 private:
  static constexpr size_t kSizes = 16;   // powers of two of rows
  static constexpr size_t kShapes = 16;  // as many are remembered
  struct Size {
    int short_runs = 0;  // in a row
    Clock::duration last{0};
    Clock::duration debt{0};  // of the main thread's runs
    Clock::time_point distrusted_until;
    int failures = 0;
    bool Known(Clock::time_point now) const;
    void Distrust(Clock::time_point now);
  };
  using Sizes = std::array<Size, kSizes>;
  static size_t SizeOf(int64_t rows);

  const Clock::duration bound_;
  mutable std::mutex mutex_;
  Recent<Sizes, kShapes> shapes_;  // guarded by mutex_
};

/// Which runs the main thread may do, for a client among others and for one that asks alone.
class TinyRuns {
 public:
  static constexpr std::chrono::microseconds kBound{50};
  static constexpr std::chrono::microseconds kBoundAlone{100};
  static constexpr int kRunsToKnow = ShortRuns::kRunsToKnow;

  /// A run of `rows` rows took so long, on a worker. `shape` names the inputs' types and dimensions.
  void Measured(uint64_t shape, int64_t rows, Clock::duration took);
  /// The same on the main thread; `now` is when it ended.
  void MeasuredHere(uint64_t shape, int64_t rows, Clock::duration took, Clock::time_point now);
  bool MayRunHere(uint64_t shape, int64_t rows, Clock::time_point now, bool alone = false) const;

 private:
  ShortRuns among_others_{kBound};
  ShortRuns alone_{kBoundAlone};
};

}  // namespace penstock

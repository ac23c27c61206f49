// How long a row takes in a run of its own and in one that several clients share: whether they had better.
//
// DESIGN
//   Most networks gain by a batch. Some lose by it, such as convolutions whose arrays no longer fit into a
//   cache; and where several workers wait for work, a batch leaves the others without any. So both ways are
//   measured and the better one is taken, and the other is tried again now and then, the more rarely the
//   longer it has been the worse one. Each kind of run, which is its inputs' types, dimensions and about how
//   many rows, is judged alone. Threads: workers; one mutex.
#pragma once

#include <cstdint>
#include <mutex>

#include "clock.h"
#include "recent.h"

namespace penstock {

class RowTimes {
 public:
  /// The other way is tried after so many decisions, then after twice as many each time, to the most.
  static constexpr int kTryOther = 32;
  static constexpr int kMostBetween = 2048;

  /// A row of a run that `shared` says to have been several clients' took so long.
  void Measured(uint64_t kind, bool shared, Clock::duration row_time);
  /// Whether runs of this kind that wait should share one. `workers` are there to run them.
  bool SharingPays(uint64_t kind, int workers);
  /// About how long a row takes in a shared run, else in one alone; zero: none has run.
  Clock::duration RowTime(uint64_t kind) const;

 private:
  static constexpr size_t kKinds = 16;  // as many are remembered
  struct Kind {
    Clock::duration alone{0};  // zero: not measured
    Clock::duration shared{0};
    bool paid = true;  // as of the last decision
    int between = kTryOther;
    int decisions = 0;  // since the other way was tried
    bool Pays(int workers) const;
  };

  mutable std::mutex mutex_;
  Recent<Kind, kKinds> kinds_;  // guarded by mutex_
};

}  // namespace penstock

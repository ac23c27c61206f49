#include "row_times.h"

#include <algorithm>

namespace penstock {
namespace {

// Quickly down and slowly up: what disturbs a measurement makes it longer.
Clock::duration Averaged(Clock::duration before, Clock::duration now) {
  if (before == Clock::duration(0)) return now;
  return now < before ? (before + now) / 2 : (before * 7 + now) / 8;
}

}  // namespace

void RowTimes::Measured(uint64_t kind, bool shared, Clock::duration row_time) {
  constexpr Clock::duration kLeast{1};  // zero means that it has not been measured
  std::lock_guard lock(mutex_);
  Kind& entry = kinds_.Use(kind);
  Clock::duration& average = shared ? entry.shared : entry.alone;
  average = Averaged(average, std::max(row_time, kLeast));
}

// One worker saves what lies between two runs; of several, all but one would be without work.
bool RowTimes::Kind::Pays(int workers) const {
  if (alone == Clock::duration(0) || shared == Clock::duration(0)) return true;
  return workers == 1 ? shared <= alone : shared <= alone * 4 / 5;
}

bool RowTimes::SharingPays(uint64_t kind, int workers) {
  std::lock_guard lock(mutex_);
  Kind& entry = kinds_.Use(kind);
  bool pays = entry.Pays(workers);
  if (pays != entry.paid) {
    entry.between = kTryOther;
    entry.decisions = 0;
  }
  entry.paid = pays;
  if (++entry.decisions < entry.between) return pays;
  entry.between = std::min(2 * entry.between, kMostBetween);
  entry.decisions = 0;
  return !pays;
}

Clock::duration RowTimes::RowTime(uint64_t kind) const {
  std::lock_guard lock(mutex_);
  const Kind* entry = kinds_.Find(kind);
  if (entry == nullptr) return Clock::duration(0);
  return entry->shared == Clock::duration(0) ? entry->alone : entry->shared;
}

}  // namespace penstock

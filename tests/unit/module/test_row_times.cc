#include "recent.h"
#include "row_times.h"
#include "runs.h"

using namespace penstock;
using namespace penstock::test;
using std::chrono::microseconds;

namespace {

constexpr uint64_t kKind = 7;
constexpr int kManyTurns = 10 * RowTimes::kTryOther;

// In how many of many decisions a run is shared.
int SharedOf(RowTimes& times, int workers) {
  int shared = 0;
  for (int i = 0; i < kManyTurns; ++i) shared += times.SharingPays(kKind, workers) ? 1 : 0;
  return shared;
}

RowTimes& Measured(RowTimes& times, int alone_us, int shared_us) {
  times.Measured(kKind, false, microseconds(alone_us));
  times.Measured(kKind, true, microseconds(shared_us));
  return times;
}

void WhatIsQuickerIsDoneAndTheOtherTriedNowAndThen() {
  constexpr int kTries = 3;  // in the 32nd of 320 decisions, 64 later and 128 later
  RowTimes gains, loses;
  CHECK_EQUAL(SharedOf(Measured(gains, 50, 10), 1), kManyTurns - kTries);
  CHECK_EQUAL(SharedOf(Measured(loses, 50, 60), 1), kTries);
}

void WhatHasBecomeQuickerIsSoonTakenAndTriedOftenAtFirst() {
  RowTimes times;
  (void)SharedOf(Measured(times, 50, 60), 1);  // long enough that the other is tried rarely
  for (int i = 0; i < 8; ++i) times.Measured(kKind, true, microseconds(10));
  CHECK(times.SharingPays(kKind, 1));
  int shared = 0;
  for (int i = 0; i < RowTimes::kTryOther; ++i) shared += times.SharingPays(kKind, 1) ? 1 : 0;
  CHECK_EQUAL(shared, RowTimes::kTryOther - 1);
}

void WhatWasNeverRunAloneIsTriedAlone() {
  RowTimes times;
  times.Measured(kKind, true, microseconds(10));
  CHECK(SharedOf(times, 1) < kManyTurns);
}

void WhereOthersWouldBeWithoutWorkItHasToGainMore() {
  RowTimes times;
  Measured(times, 50, 45);
  CHECK(SharedOf(times, 1) > kManyTurns / 2);
  CHECK(SharedOf(times, 2) < kManyTurns / 2);
}

void ADisturbedMeasurementIsSoonMadeUpFor() {
  RowTimes times;
  Measured(times, 50, 10000);  // the first shared run found cold caches
  for (int i = 0; i < 12; ++i) times.Measured(kKind, true, microseconds(10));
  CHECK(SharedOf(times, 1) > kManyTurns / 2);
  times.Measured(kKind, true, microseconds(100));
  CHECK(SharedOf(times, 1) > kManyTurns / 2);
}

void KindsAreJudgedAlone() {
  RowTimes times;
  Measured(times, 50, 60);
  times.Measured(kKind + 1, false, microseconds(50));
  times.Measured(kKind + 1, true, microseconds(10));
  CHECK(SharedOf(times, 1) < kManyTurns / 2);
  CHECK(times.RowTime(kKind) == microseconds(60));
  CHECK(times.RowTime(kKind + 1) == microseconds(10));
  CHECK(times.RowTime(kKind + 2) == Clock::duration(0));
}

void TheLastUsedAreRemembered() {
  Recent<int, 2> recent;
  recent.Use(1) = 10;
  recent.Use(2) = 20;
  (void)recent.Use(1);
  recent.Use(3) = 30;
  CHECK(recent.Find(2) == nullptr);
  CHECK_EQUAL(*recent.Find(1), 10);
  CHECK_EQUAL(*recent.Find(3), 30);
}

}  // namespace

int main() {
  WhatIsQuickerIsDoneAndTheOtherTriedNowAndThen();
  WhatHasBecomeQuickerIsSoonTakenAndTriedOftenAtFirst();
  WhatWasNeverRunAloneIsTriedAlone();
  WhereOthersWouldBeWithoutWorkItHasToGainMore();
  ADisturbedMeasurementIsSoonMadeUpFor();
  KindsAreJudgedAlone();
  TheLastUsedAreRemembered();
  return Report();
}

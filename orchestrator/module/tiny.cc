#include "tiny.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <bit>

namespace penstock {
namespace {

Clock::duration ThreadTime() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// How often this thread has given up its processor by itself: it slept, or waited for a lock.
int64_t Sleeps() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

}  // namespace

Stopwatch::Stopwatch() : began_(Clock::now()), used_(ThreadTime()), sleeps_(Sleeps()) {}

Clock::duration Stopwatch::taken() const {
  constexpr int kForgiven = 200;
  Clock::duration wall = Clock::now() - began_;
  bool in_doubt = wall > TinyRuns::kBound && wall <= kForgiven * TinyRuns::kBound;
  if (!in_doubt || Sleeps() != sleeps_) return wall;
  return ThreadTime() - used_;
}

size_t ShortRuns::SizeOf(int64_t rows) {
  auto at_least_one = static_cast<uint64_t>(std::max<int64_t>(rows, 1));
  return static_cast<size_t>(std::bit_width(at_least_one - 1));
}

bool ShortRuns::Size::Known(Clock::time_point now) const {
  return short_runs >= kRunsToKnow && now >= distrusted_until;
}

void ShortRuns::Measured(uint64_t shape, int64_t rows, Clock::duration took) {
  size_t size = SizeOf(rows);
  if (size >= kSizes) return;
  std::lock_guard lock(mutex_);
  if (took > bound_ && shapes_.Find(shape) == nullptr) return;  // remembers short ones only
  Size& entry = shapes_.Use(shape)[size];
  entry.short_runs = took <= bound_ ? std::min(entry.short_runs + 1, kRunsToKnow) : 0;
  entry.last = took;
}

void ShortRuns::MeasuredHere(uint64_t shape, int64_t rows, Clock::duration took, Clock::time_point now) {
  size_t size = SizeOf(rows);
  if (took <= bound_) Measured(shape, rows, took);
  std::lock_guard lock(mutex_);
  Sizes* found = shapes_.Find(shape);
  if (found == nullptr || size >= kSizes) return;
  Sizes& sizes = *found;
  Clock::duration& debt = sizes[size].debt;
  debt = std::max(debt + took - bound_, Clock::duration(0));
  if (debt <= kMostDebt) return;
  debt = Clock::duration(0);
  if (size > 0) sizes[size - 1].short_runs = kRunsToKnow;  // what twice as many rows have shown so far
  for (; size < kSizes; ++size) sizes[size].Distrust(now);
}

void ShortRuns::Size::Distrust(Clock::time_point now) {
  constexpr int kMostDoublings = 4;
  if (now > distrusted_until + std::chrono::minutes(1)) failures = 0;  // long since
  short_runs = 0;
  distrusted_until = now + std::chrono::seconds(1 << std::min(failures, kMostDoublings));
  ++failures;
}

bool ShortRuns::MayRunHere(uint64_t shape, int64_t rows, Clock::time_point now) const {
  size_t size = SizeOf(rows);
  std::lock_guard lock(mutex_);
  const Sizes* found = shapes_.Find(shape);
  if (found == nullptr || size >= kSizes) return false;
  const Sizes& sizes = *found;
  bool known = std::any_of(sizes.begin() + static_cast<std::ptrdiff_t>(size), sizes.end(),
                           [now](const Size& entry) { return entry.Known(now); });
  if (known || size == 0) return known;
  const Size& half = sizes[size - 1];
  return half.Known(now) && half.last <= bound_ / 2 && now >= sizes[size].distrusted_until;
}

void TinyRuns::Measured(uint64_t shape, int64_t rows, Clock::duration took) {
  among_others_.Measured(shape, rows, took);
  alone_.Measured(shape, rows, took);
}

void TinyRuns::MeasuredHere(uint64_t shape, int64_t rows, Clock::duration took, Clock::time_point now) {
  among_others_.MeasuredHere(shape, rows, took, now);
  alone_.MeasuredHere(shape, rows, took, now);
}

bool TinyRuns::MayRunHere(uint64_t shape, int64_t rows, Clock::time_point now, bool alone) const {
  return among_others_.MayRunHere(shape, rows, now) || (alone && alone_.MayRunHere(shape, rows, now));
}

}  // namespace penstock

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

size_t TinyRuns::SizeOf(int64_t rows) {
  auto at_least_one = static_cast<uint64_t>(std::max<int64_t>(rows, 1));
  return static_cast<size_t>(std::bit_width(at_least_one - 1));
}

bool TinyRuns::Size::Known(Clock::time_point now) const {
  return short_runs >= kRunsToKnow && now >= distrusted_until;
}

void TinyRuns::Measured(uint64_t shape, int64_t rows, Clock::duration took) {
  size_t size = SizeOf(rows);
  if (size >= kSizes) return;
  std::lock_guard lock(mutex_);
  auto found = shapes_.find(shape);
  if (found == shapes_.end()) {
    if (took > kBound) return;  // remembers short ones only
    if (shapes_.size() == kShapes) ForgetOne();
    found = shapes_.try_emplace(shape).first;
  }
  found->second.measured = ++measurements_;
  Size& entry = found->second.sizes[size];
  entry.short_runs = took <= kBound ? std::min(entry.short_runs + 1, kRunsToKnow) : 0;
  entry.last = took;
}

void TinyRuns::MeasuredHere(uint64_t shape, int64_t rows, Clock::duration took, Clock::time_point now) {
  size_t size = SizeOf(rows);
  if (took <= kBound) Measured(shape, rows, took);
  std::lock_guard lock(mutex_);
  auto found = shapes_.find(shape);
  if (found == shapes_.end() || size >= kSizes) return;
  Sizes& sizes = found->second.sizes;
  Clock::duration& debt = sizes[size].debt;
  debt = std::max(debt + took - kBound, Clock::duration(0));
  if (debt <= kMostDebt) return;
  debt = Clock::duration(0);
  if (size > 0) sizes[size - 1].short_runs = kRunsToKnow;  // what twice as many rows have shown so far
  for (; size < kSizes; ++size) sizes[size].Distrust(now);
}

// The one that has not been measured for longest.
void TinyRuns::ForgetOne() {
  auto older = [](const auto& a, const auto& b) { return a.second.measured < b.second.measured; };
  shapes_.erase(std::min_element(shapes_.begin(), shapes_.end(), older));
}

void TinyRuns::Size::Distrust(Clock::time_point now) {
  constexpr int kMostDoublings = 4;
  if (now > distrusted_until + std::chrono::minutes(1)) failures = 0;  // long since
  short_runs = 0;
  distrusted_until = now + std::chrono::seconds(1 << std::min(failures, kMostDoublings));
  ++failures;
}

bool TinyRuns::MayRunHere(uint64_t shape, int64_t rows, Clock::time_point now) const {
  size_t size = SizeOf(rows);
  std::lock_guard lock(mutex_);
  auto found = shapes_.find(shape);
  if (found == shapes_.end() || size >= kSizes) return false;
  const Sizes& sizes = found->second.sizes;
  bool known = std::any_of(sizes.begin() + static_cast<std::ptrdiff_t>(size), sizes.end(),
                           [now](const Size& entry) { return entry.Known(now); });
  if (known || size == 0) return known;
  const Size& half = sizes[size - 1];
  return half.Known(now) && half.last <= kBound / 2 && now >= sizes[size].distrusted_until;
}

}  // namespace penstock

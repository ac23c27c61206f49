// The clock of deadlines and waits.
#pragma once

#include <chrono>
#include <optional>

namespace penstock {

using Clock = std::chrono::steady_clock;

/// None when that is beyond what the clock can say, which is centuries away.
inline std::optional<Clock::time_point> DeadlineIn(std::chrono::milliseconds time) {
  auto now = Clock::now();
  if (time > std::chrono::floor<std::chrono::milliseconds>(Clock::time_point::max() - now))
    return std::nullopt;
  return now + time;
}

}  // namespace penstock

// What AI.MODELEXECUTE, AI.SCRIPTEXECUTE and AI.SCRIPTRUN say alike.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "arguments.h"
#include "status.h"

namespace penstock {

/// Positions of keys among the words, and what else a run needs.
struct RunWords {
  std::string_view function;
  std::vector<size_t> keys;
  std::vector<size_t> inputs;
  std::vector<size_t> outputs;
  std::vector<size_t> texts;
  int64_t timeout_ms = 0;  // 0: none
  bool native = false;     // outputs in their own types, see widening.h
};

/// TIMEOUT's value, the word just after it; `missing` is the error when there is none.
Result<int64_t> ParseTimeout(Arguments* words, const char* missing);

}  // namespace penstock

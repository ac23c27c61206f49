// The words of the PENSTOCK.* commands of the arena.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "tensor.h"

namespace penstock {

/// PENSTOCK.ARENA PID n [FORMER connection arena]
struct IntroductionWords {
  int64_t pid = 0;
  std::optional<uint64_t> former;  // number of a connection
  std::string arena;               // id of the arena that it had
};
Result<IntroductionWords> ParseIntroduction(Arguments words);

/// PENSTOCK.LEASE bytes [TIMEOUT ms]
struct LeaseWords {
  uint64_t bytes = 0;
  std::optional<std::chrono::milliseconds> timeout;
};
Result<LeaseWords> ParseLease(Arguments words);

/// PENSTOCK.PUT key dtype dim ... OFFSET offset [KEEP] [LEASE bytes]
struct ArenaPutWords {
  DataType type = DataType::kFloat;
  std::vector<int64_t> dims;
  uint64_t bytes = 0;  // of that type and shape; one at least
  uint64_t offset = 0;
  bool keep = false;  // the client maps what it has put
  std::optional<uint64_t> lease;
};
Result<ArenaPutWords> ParseArenaPut(Arguments words);

/// PENSTOCK.MAP key [BLOB]: whether the bytes are wanted where they cannot be mapped.
Result<bool> ParseMap(Arguments words);

/// PENSTOCK.RELEASE offset ...
Result<std::vector<uint64_t>> ParseRelease(Arguments words);

}  // namespace penstock

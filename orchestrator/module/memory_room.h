// Room in the server's memory for the tensors of streams, so that these never reach its limit.
//
// DESIGN
//   A producer asks the shard that takes its tensors before it sends them, and is promised so many bytes
//   while what is used and promised stays below nine tenths of `maxmemory`; else it waits, first come first
//   served. A connection has one promise, which each request takes the place of: sent behind the tensors of
//   one snapshot it is for those of the next. Without `maxmemory`, or where the server evicts whatever it
//   likes, everything has room. Main thread only.
#pragma once

#include <cstdint>

#include "redis_api.h"

namespace penstock {

/// Of the limit, that the tensors of streams may use.
inline constexpr double kMemoryShare = 0.9;

/// For the cron: what the server may use.
void MeasureMemoryLimit(RedisModuleCtx* context);
/// What the tensors of a stream may take that nobody has bounded.
int64_t StandardBytes();
void EndMemoryPromise(uint64_t client);

}  // namespace penstock

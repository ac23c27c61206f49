// Whether the server may be written to from a callback: not while it is paused (CLIENT PAUSE, FAILOVER,
// a shutdown that waits for replicas), when anything replicated would abort it.
//
// DESIGN
//   The main thread alone may ask the server. It is told of CLIENT PAUSE and FAILOVER by a filter of
//   commands, finds out about other pauses from the cron, and then asks every few milliseconds until writes
//   are allowed again. Meanwhile what would write is held here: the clients wait, as those do whose commands
//   the server holds. What a worker delivered in the turn of the pause itself cannot be held any more; it
//   changes nothing and its client is told (RefuseOnReplica). Threads: any may call HoldInPause; the mutex
//   guards what is held.
#pragma once

#include <functional>

#include "redis_api.h"

namespace penstock {

/// Has the server tell of its pauses. False when it refused.
bool WatchForPauses(RedisModuleCtx* context);

/// For the cron: a pause that no command began.
void LookForPause();

/// Keeps `then` until writes are allowed again, to be called on the main thread; false when they are.
bool HoldInPause(std::function<void()> then);

}  // namespace penstock

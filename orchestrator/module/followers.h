// Whether anybody gets what this server replicates: its replicas, or its append-only file.
//
// DESIGN
//   The server tells only in the text of INFO, which takes longer than a small write. That nobody does is
//   remembered from one answer on, until something can change it: a replica that asks for a copy, of which a
//   filter of commands tells before the server hears it, or a change of this server's own role, after which
//   replicas may ask for what was written before they came. Main thread only.
#pragma once

#include "redis_api.h"

namespace penstock {

/// Has the server tell of replicas that come. False when it refused.
bool WatchForFollowers(RedisModuleCtx* context);

/// Whether what is replicated now goes to anybody.
bool SomebodyFollows(RedisModuleCtx* context);

}  // namespace penstock

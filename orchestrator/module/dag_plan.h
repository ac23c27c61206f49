// What a DAG needs of the server, looked up before anything runs.
//
// DESIGN
//   Loaded tensors, tensors that are set, models and scripts: one that is missing is the answer to the whole
//   command, and so is a key of PERSIST that holds something else. A BLOB is copied when it is small and held
//   when it is large. Where Redis may still move what is held (held_string.h), the walk is to begin in the
//   next turn of the event loop. Main thread.
#pragma once

#include "dag_walk.h"
#include "redis_api.h"

namespace penstock {

struct PlannedDag {
  DagPlan plan;
  CancellationPtr cancellation;  // of all its runs
  bool holds = false;            // not to begin before the command is over
};
Result<PlannedDag> PlanDag(RedisModuleCtx* context, RedisModuleString** argv, Dag dag, DagForm form);

}  // namespace penstock

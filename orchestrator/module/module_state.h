// The one live object of the module: what it was told at load, its queues, its backends.
//
// DESIGN
//   Made by RedisModule_OnLoad and never deleted: workers may outlast the server's exit. Fields without a
//   comment belong to the main thread. A worker that must see them (a script that runs a command) holds the
//   server's lock, which stands for the main thread. Shutdown: the workers are joined from the server's
//   shutdown event, after it has saved, for half a second at most. A run that takes longer cannot be
//   interrupted; then the process leaves without running destructors under that thread's feet.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "backends.h"
#include "inline_runs.h"
#include "model.h"
#include "options.h"
#include "redis_api.h"
#include "run_queues.h"
#include "script.h"
#include "work_queue.h"

namespace penstock {

/// What AI.MODELSTORE or AI.SCRIPTSET is still loading, by database and key.
template <class T>
using Pending = std::map<std::pair<int, std::string>, std::shared_ptr<T>>;

struct ModuleState {
  /// `load` is for runs of what is not loaded yet.
  ModuleState(const Options& given, const std::string& folder, RedisModuleCtx* detached,
              std::function<void(std::shared_ptr<Executable>)> load);
  Options options;
  Backends backends;  // thread-safe
  RunQueues runs;     // thread-safe
  InlineRuns inline_runs{&runs};
  WorkQueue loader;         // thread-safe; one thread, until a load takes very long
  RedisModuleCtx* context;  // detached; used on the main thread or under the server's lock
  Pending<Model> pending_models;
  Pending<Script> pending_scripts;
  std::atomic<bool> stopping = false;
};

void InstallState(ModuleState* state);
ModuleState& state();

/// Remembers for runs and loads, which allocate between two commands, what maxmemory leaves. Main thread.
void MeasureSpareMemory(RedisModuleCtx* context);

/// Joins the workers. Called once, when the server leaves.
void StopWorkers();

/// The detached context with a database selected, for as long as it lives.
class Database {
 public:
  explicit Database(int number) { redis::SelectDb(state().context, number); }
  RedisModuleCtx* context() const { return state().context; }
};

}  // namespace penstock

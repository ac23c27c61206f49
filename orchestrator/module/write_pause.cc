#include "write_pause.h"

#include <mutex>
#include <utility>
#include <vector>

#include "arguments.h"
#include "held_string.h"
#include "module_state.h"

namespace penstock {
namespace {

constexpr long long kPollMs = 5;

struct Pause {
  std::mutex mutex;
  bool on = false;                          // guarded by mutex; written on the main thread
  std::vector<std::function<void()>> held;  // guarded by mutex
};

Pause& pause() {
  static auto* one = new Pause;  // threads may outlast the server's exit
  return *one;
}

void Look(RedisModuleCtx* context, void*) {
  if (redis::AvoidReplicaTraffic() != 0) {  // what comes meanwhile is held
    redis::CreateTimer(context, kPollMs, Look, nullptr);
    return;
  }
  std::unique_lock lock(pause().mutex);
  pause().on = false;
  auto held = std::exchange(pause().held, {});
  lock.unlock();
  for (auto& then : held) then();
}

void Begin(long long first_look_ms) {
  {
    std::lock_guard lock(pause().mutex);
    if (std::exchange(pause().on, true)) return;
  }
  redis::CreateTimer(state().context, first_look_ms, Look, nullptr);
}

bool MayPause(RedisModuleCommandFilterCtx* filter) {
  size_t size = 0;
  redis::StringPtrLen(redis::CommandFilterArgGet(filter, 0), &size);
  if (size == 8) return UpperCase(View(redis::CommandFilterArgGet(filter, 0))) == "FAILOVER";
  if (size != 6 || redis::CommandFilterArgsCount(filter) < 3) return false;
  return UpperCase(View(redis::CommandFilterArgGet(filter, 0))) == "CLIENT" &&
         UpperCase(View(redis::CommandFilterArgGet(filter, 1))) == "PAUSE";
}

// Before the command: what is delivered from now on is held.
void OnCommand(RedisModuleCommandFilterCtx* filter) {
  if (MayPause(filter)) Begin(0);
}

}  // namespace

bool WatchForPauses(RedisModuleCtx* context) {
  return redis::RegisterCommandFilter(context, OnCommand, redis::kNotFromOurselves) != nullptr;
}

void LookForPause() {
  if (redis::AvoidReplicaTraffic() != 0) Begin(kPollMs);
}

bool HoldInPause(std::function<void()> then) {
  std::lock_guard lock(pause().mutex);
  if (pause().on) pause().held.push_back(std::move(then));
  return pause().on;
}

}  // namespace penstock

#include "module_state.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "arena_service.h"

namespace penstock {
namespace {

ModuleState* installed = nullptr;

constexpr auto kLongestGoodbye = std::chrono::milliseconds(500);

QueueSettings SettingsFor(const Options& options) {
  QueueSettings settings;
  settings.workers = static_cast<int>(options.threads_per_queue);
  settings.log = [](const std::string& text) { redis::Log(nullptr, "warning", "%s", text.c_str()); };
  return settings;
}

}  // namespace

ModuleState::ModuleState(const Options& given, const std::string& folder, RedisModuleCtx* detached,
                         std::function<void(std::shared_ptr<Executable>)> load)
    : options(given),
      backends(given, folder),
      runs(SettingsFor(given), std::move(load)),
      loader("ai-loader", 1),
      context(detached) {}

void InstallState(ModuleState* state) { installed = state; }

ModuleState& state() { return *installed; }

void MeasureSpareMemory(RedisModuleCtx* context) {
  if (redis::GetServerInfo == nullptr) return;
  auto* info = redis::GetServerInfo(context, "memory");
  uint64_t most = redis::ServerInfoGetFieldUnsigned(info, "maxmemory", nullptr);
  uint64_t used = redis::ServerInfoGetFieldUnsigned(info, "used_memory", nullptr);
  const char* policy = redis::ServerInfoGetFieldC(info, "maxmemory_policy");
  bool evicts = policy != nullptr && std::string_view(policy).starts_with("allkeys");
  redis::FreeServerInfo(context, info);
  if (evicts) used = 0;  // whatever is needed is made room for, as in any cache
  SetSpareMemory(most == 0 ? 0 : most > used ? most - used : 1);
}

void StopWorkers() {
  ModuleState& module = state();
  module.stopping = true;
  auto deadline = Clock::now() + kLongestGoodbye;
  module.loader.Stop();
  module.runs.Stop();
  bool arena_left = StopArena(deadline);
  bool loader_left =
      module.loader.Join(deadline);  // first: what it has loaded, it pushes to a device's queue
  bool devices_left = module.runs.Join(deadline);
  if (devices_left && loader_left && arena_left) return;
  redis::Log(nullptr, "warning", "a run or load is still going on; leaving without it");
  // Registered last, so it runs first: before the destructors of libraries that the run still uses.
  on_exit([](int status, void*) { _exit(status); }, nullptr);
}

}  // namespace penstock

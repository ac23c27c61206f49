#include "module_state.h"

#include <unistd.h>

#include <cstdlib>

namespace penstock {
namespace {

ModuleState* installed = nullptr;

constexpr auto kLongestGoodbye = std::chrono::milliseconds(500);

}  // namespace

ModuleState::ModuleState(const Options& given, const std::string& folder, RedisModuleCtx* detached)
    : options(given),
      backends(given, folder),
      device_queues(static_cast<int>(given.threads_per_queue)),
      loader("ai-loader", 1),
      context(detached) {}

void InstallState(ModuleState* state) { installed = state; }

ModuleState& state() { return *installed; }

void StopWorkers() {
  ModuleState& module = state();
  module.stopping = true;
  auto deadline = Clock::now() + kLongestGoodbye;
  module.loader.Stop();
  module.device_queues.Stop();
  bool loader_left =
      module.loader.Join(deadline);  // first: what it has loaded, it pushes to a device's queue
  bool devices_left = module.device_queues.Join(deadline);
  if (devices_left && loader_left) return;
  redis::Log(nullptr, "warning", "a run or load is still going on; leaving without it");
  // Registered last, so it runs first: before the destructors of libraries that the run still uses.
  std::atexit([] { _exit(0); });
}

}  // namespace penstock

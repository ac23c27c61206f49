// AI.INFO, and the module's sections of INFO MODULES.
#include <sys/resource.h>

#include "arena_service.h"
#include "commands.h"
#include "info.h"
#include "model_type.h"
#include "module_state.h"
#include "rdb.h"
#include "reply.h"
#include "script_type.h"

namespace penstock {
namespace {

// What AI.INFO says of a model and of a script alike.
struct Ran {
  const char* type;
  const char* backend;
  std::shared_ptr<Executable> executable;
  bool counts_samples;
};

Result<Ran> Find(RedisModuleCtx* context, RedisModuleString* key) {
  auto model = FindModel(context, key);
  if (model.ok() && *model != nullptr)
    return Ran{"MODEL", BackendName((*model)->definition().backend), *model, true};
  auto script = FindScript(context, key);
  if (script.ok() && *script != nullptr) return Ran{"SCRIPT", "TORCH", *script, false};
  return Status::Error("cannot find run info for key");
}

int ReplyRan(RedisModuleCtx* context, std::string_view key, const Ran& ran) {
  const RunStats& stats = ran.executable->stats();
  redis::ReplyWithArray(context, 18);
  std::pair<const char*, std::string_view> texts[] = {{"key", key},
                                                      {"type", ran.type},
                                                      {"backend", ran.backend},
                                                      {"device", ran.executable->device()},
                                                      {"tag", ran.executable->tag()}};
  for (auto& [name, text] : texts) {
    ReplyText(context, name);
    ReplyText(context, text);
  }
  std::pair<const char*, int64_t> numbers[] = {{"duration", stats.duration_us},
                                               {"samples", ran.counts_samples ? stats.samples.load() : -1},
                                               {"calls", stats.calls},
                                               {"errors", stats.errors}};
  for (auto& [name, number] : numbers) {
    ReplyText(context, name);
    redis::ReplyWithLongLong(context, number);
  }
  return redis::kOk;
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// Of what is open: which library answers for each kind of model.
void AddBackends(RedisModuleInfoCtx* info) {
  redis::InfoAddSection(info, "backends_info");
  const Backends& backends = state().backends;
  for (auto kind :
       {BackendKind::kTorch, BackendKind::kTensorflow, BackendKind::kTflite, BackendKind::kOnnx}) {
    Engine engine = backends.EngineFor(kind);
    const char* version = backends.version(engine);
    if (version == nullptr) continue;
    std::string name = BackendName(kind);
    redis::InfoAddFieldCString(info, (name + "_version").c_str(), version);
    redis::InfoAddFieldCString(info, (name + "_library").c_str(), EngineName(engine));
  }
}

void AddRuns(RedisModuleInfoCtx* info) {
  redis::InfoAddSection(info, "runs");
  redis::InfoAddFieldLongLong(info, "inline_runs", state().inline_runs.count());
}

// In bytes, unless it counts something. Not while the server crashes: who holds the locks may be the one.
void AddArena(RedisModuleInfoCtx* info) {
  ArenaService* service = arena_service();
  if (service == nullptr) return;
  Arena::Counts blocks = service->arena.counts();
  ArenaClients::Counts held = service->clients.counts();
  redis::InfoAddSection(info, "arena");
  std::pair<const char*, uint64_t> numbers[] = {{"arena_size", blocks.size},
                                                {"arena_ready", blocks.ready},
                                                {"arena_used", blocks.used},
                                                {"arena_deferred", blocks.deferred},
                                                {"arena_largest_free", blocks.largest_free},
                                                {"arena_leased", held.leased},
                                                {"arena_pinned", held.pinned},
                                                {"arena_quarantined", held.quarantined},
                                                {"arena_waiting_clients", held.waiting},
                                                {"arena_processes", held.processes}};
  for (auto& [name, number] : numbers) {
    redis::InfoAddFieldLongLong(info, name, static_cast<long long>(number));
  }
}

void AddCpu(RedisModuleInfoCtx* info) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  redis::InfoAddSection(info, "cpu");
  redis::InfoAddFieldDouble(info, "self_used_cpu_sys", Seconds(usage.ru_stime));
  redis::InfoAddFieldDouble(info, "self_used_cpu_user", Seconds(usage.ru_utime));
}

}  // namespace

int RunInfo(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 2 && argc != 3) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  std::string_view key = words.Next();
  bool reset = words.Take("RESETSTAT");
  if (!words.done()) return Reply(context, Status::Error("unsupported subcommand"));
  auto ran = Find(context, argv[1]);
  if (!ran.ok()) return Reply(context, ran.status());
  if (!reset) return ReplyRan(context, key, *ran);
  ran->executable->stats().Reset();
  return Reply(context, Status::Ok());
}

void AddInfo(RedisModuleInfoCtx* info, int for_crash_report) {
  const Options& options = state().options;
  redis::InfoAddSection(info, "versions");
  redis::InfoAddFieldCString(info, "RedisAI_version", "1.2.7");
  redis::InfoAddFieldCString(info, "low_level_API_version", "1");
  redis::InfoAddFieldLongLong(info, "rdb_version", kRdbVersion);
  redis::InfoAddSection(info, "git");
  redis::InfoAddFieldCString(info, "git_sha", PENSTOCK_SOURCE_SHA);
  redis::InfoAddSection(info, "load_time_configs");
  redis::InfoAddFieldLongLong(info, "threads_per_queue", options.threads_per_queue);
  redis::InfoAddFieldLongLong(info, "inter_op_parallelism", options.inter_op_threads);
  redis::InfoAddFieldLongLong(info, "intra_op_parallelism", options.intra_op_threads);
  redis::InfoAddFieldLongLong(info, "model_execution_timeout", options.execution_timeout_ms);
  redis::InfoAddFieldLongLong(info, "backend_memory_limit", options.backend_memory_limit_mb);
  AddBackends(info);
  AddRuns(info);
  if (for_crash_report == 0) AddArena(info);
  AddCpu(info);
}

}  // namespace penstock

// The module `ai`: its commands, its types and what happens when it is loaded.
#include <dlfcn.h>

#include <cstdlib>

#include "arena_service.h"
#include "argument_file.h"
#include "background_load.h"
#include "commands.h"
#include "dataset_writing.h"
#include "followers.h"
#include "held_string.h"
#include "info.h"
#include "integer_division.h"
#include "memory_room.h"
#include "model_type.h"
#include "module_state.h"
#include "retiring.h"
#include "run_tensors.h"
#include "script_type.h"
#include "stream_waiting.h"
#include "tensor_type.h"
#include "write_pause.h"

namespace penstock {
namespace {

struct CommandEntry {
  const char* name;  // in upper case, as Redis shows it in its own errors
  redis::Command function;
  const char* flags;
  int key;  // position of the first key; 0: there need be none. With getkeys-api the command tells all
  int last_key = 0;  // position, where there are several in a row
};

constexpr CommandEntry kCommands[] = {
    {"AI.TENSORSET", TensorSet, "write deny-oom", 1},
    {"AI.TENSORGET", TensorGet, "readonly", 1},
    {"AI.MODELSTORE", ModelStore, "write deny-oom", 1},
    {"AI.MODELSET", ModelSet, "write deny-oom", 1},
    {"AI.MODELGET", ModelGet, "readonly", 1},
    {"AI.MODELDEL", ModelDel, "write", 1},
    {"AI.MODELEXECUTE", ModelExecute, "write deny-oom getkeys-api", 1},
    {"AI.MODELRUN", ModelRun, "write deny-oom getkeys-api", 1},
    {"AI.SCRIPTSTORE", ScriptStore, "write deny-oom", 1},
    {"AI.SCRIPTSET", ScriptSet, "write deny-oom", 1},
    {"AI.SCRIPTGET", ScriptGet, "readonly", 1},
    {"AI.SCRIPTDEL", ScriptDel, "write", 1},
    {"AI.SCRIPTEXECUTE", ScriptExecute, "write deny-oom getkeys-api", 1},
    {"AI.SCRIPTRUN", ScriptRun, "write deny-oom getkeys-api", 1},
    {"AI.DAGEXECUTE", DagExecute, "write deny-oom getkeys-api", 0},
    {"AI.DAGEXECUTE_RO", DagExecuteReadOnly, "readonly getkeys-api", 0},
    {"AI.DAGRUN", DagRun, "write deny-oom getkeys-api", 0},
    {"AI.DAGRUN_RO", DagRunReadOnly, "readonly getkeys-api", 0},
    {"AI._MODELSCAN", ModelScan, "readonly", 0},
    {"AI._SCRIPTSCAN", ScriptScan, "readonly", 0},
    {"AI.INFO", RunInfo, "readonly", 1},
    {"AI.CONFIG", Config, "write", 0},
    {"PENSTOCK.PROMOTE", Promote, "write", 1, 2},
    {"PENSTOCK.BOUND", StreamBound, "write", 1},
    {"PENSTOCK.RESERVE", StreamReserve, "write", 1},
    {"PENSTOCK.UNRESERVE", StreamRelease, "write", 1},
    {"PENSTOCK.BEGIN", DatasetBegin, "write deny-oom", 1},
    {"PENSTOCK.COMPLETE", DatasetComplete, "write", 1},
    {"PENSTOCK.ANNOUNCE", StreamAnnounce, "write getkeys-api", 1},
    {"PENSTOCK.SUBSCRIBE", StreamSubscribe, "write", 1},
    {"PENSTOCK.UNSUBSCRIBE", StreamUnsubscribe, "write", 1},
    {"PENSTOCK.ACK", StreamAcknowledge, "write", 1},
    {"PENSTOCK.FREED", StreamFreed, "write", 1},
    {"PENSTOCK.METER", StreamMeter, "readonly", 1},
    {"PENSTOCK.ROOM", Room, "readonly", 1},
    {"PENSTOCK.ARENA", ArenaIntroduce, "readonly", 0},
    {"PENSTOCK.LEASE", ArenaLease, "readonly", 0},
    {"PENSTOCK.PUT", ArenaPut, "write deny-oom", 1},
    {"PENSTOCK.MAP", ArenaMap, "readonly", 1},
    {"PENSTOCK.RELEASE", ArenaRelease, "readonly fast", 0},
};

Status CreateCommands(RedisModuleCtx* context) {
  for (const CommandEntry& entry : kCommands) {
    int last = entry.last_key > 0 ? entry.last_key : entry.key;
    int step = entry.key > 0 ? 1 : 0;
    int made = redis::CreateCommand(context, entry.name, entry.function, entry.flags, entry.key, last, step);
    if (made != redis::kOk) return Status::Error(std::string("the server refused the command ") + entry.name);
  }
  return Status::Ok();
}

Status CreateTypes(RedisModuleCtx* context) {
  bool made = RegisterTensorType(context) && RegisterModelType(context) && RegisterScriptType(context);
  return made ? Status::Ok() : Status::Error("the server refused the types AI_TENSOR, AI__MODEL, AI_SCRIPT");
}

void OnShutdown(RedisModuleCtx*, redis::Event, uint64_t, void*) { StopWorkers(); }

// A few times a second: drops what waits for clients that have gone, releases what workers dropped.
void OnCron(RedisModuleCtx* context, redis::Event, uint64_t, void*) {
  MeasureSpareMemory(context);
  MeasureMemoryLimit(context);
  HandleRefusedDivisions();
  LookForPause();
  state().runs.Sweep();
  if (state().loader.Sweep(Clock::now()))
    redis::Log(context, "notice", "a load takes very long; another thread goes on with those that wait");
  DropRetired();
  ReleaseDropped();
}

// The server keeps one callback of a module for each event.
void OnClient(RedisModuleCtx*, redis::Event, uint64_t what, void* data) {
  if (what != redis::kClientDisconnected) return;
  uint64_t client = static_cast<redis::ClientInfo*>(data)->id;
  EndPromises(client);
  GiveUpWriting(client);
  if (arena_service() != nullptr) arena_service()->clients.ConnectionEnded(client);
}

void OnEventLoop(RedisModuleCtx*, redis::Event, uint64_t what, void*) {
  if (what == redis::kBeforeSleep) state().inline_runs.EndTurn();
}

// The server has just put its own handlers of signals back, it may be, or has another limit of memory.
void OnConfig(RedisModuleCtx* context, redis::Event, uint64_t, void*) {
  HandleRefusedDivisions();
  MeasureMemoryLimit(context);
}

Status Subscribe(RedisModuleCtx* context) {
  redis::SubscribeToServerEvent(context, redis::kEventLoopEvent, OnEventLoop);  // older servers refuse these
  redis::SubscribeToServerEvent(context, redis::kConfigEvent, OnConfig);
  bool heard = redis::SubscribeToServerEvent(context, redis::kShutdownEvent, OnShutdown) == redis::kOk &&
               redis::SubscribeToServerEvent(context, redis::kClientChangeEvent, OnClient) == redis::kOk &&
               redis::SubscribeToServerEvent(context, redis::kCronEvent, OnCron) == redis::kOk &&
               WatchForPauses(context) && WatchForFollowers(context);
  return heard ? Status::Ok() : Status::Error("the server refused to tell of its events");
}

std::string PathOfThisLibrary() {
  Dl_info info{};
  dladdr(reinterpret_cast<const void*>(&PathOfThisLibrary), &info);
  return info.dli_fname != nullptr ? info.dli_fname : "";
}

std::string FolderOfThisLibrary() {
  std::string path = PathOfThisLibrary();
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// Fails with the backend's own error in the log; models say it again when they are stored.
class Preload : public Task {
 public:
  explicit Preload(Engine engine) : engine_(engine) {}
  void Run() override {
    auto opened = state().backends.Open(engine_);
    if (!opened.ok()) redis::Log(nullptr, "warning", "%s", opened.status().text().c_str());
  }
  void Deliver(std::unique_ptr<Task>) override {}

 private:
  Engine engine_;
};

// Redis 6.2 can only give memory or die: there the system is asked first when it is much.
void* AllocateOrNull(size_t bytes) {
  if (redis::TryAlloc != nullptr) return redis::TryAlloc(bytes);
  constexpr size_t kMuch = 16 << 20;
  if (bytes >= kMuch) {
    void* volatile there = std::malloc(bytes);  // asked for, whatever a compiler thinks of it
    if (there == nullptr) return nullptr;
    std::free(there);
  }
  return redis::Alloc(bytes);
}

Status Start(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  auto beside = ReadArgumentFile(ArgumentFileOf(PathOfThisLibrary()));
  if (!beside.ok()) return beside.status();
  std::vector<std::string_view> words(beside->begin(), beside->end());
  for (int i = 0; i < argc; ++i) words.push_back(View(argv[i]));
  auto options = ParseOptions(words);
  if (!options.ok()) return options.status();
  for (const std::string& key : options->without_effect) {
    redis::Log(context, "notice", "%s is accepted for RedisAI's sake and has no effect", key.c_str());
  }
  RememberMainThread();
  HandleRefusedDivisions();
  InstallAllocator({AllocateOrNull, redis::Calloc, redis::Free});
  InstallOutputBuffers([](std::string_view bytes) -> BufferPtr {
    void* there = AllocateOrNull(bytes.size());  // to make a string without memory ends the server
    if (there == nullptr) return nullptr;
    redis::Free(there);
    return std::make_shared<StringBuffer>(HeldString::Copy(bytes));
  });
  redis::SetModuleOptions(context, redis::kHandleIoErrors);
  InstallState(new ModuleState(*options, FolderOfThisLibrary(), redis::GetDetachedThreadSafeContext(context),
                               LoadInBackground));
  Status status = CreateTypes(context);
  if (status.ok()) status = CreateCommands(context);
  if (status.ok()) status = Subscribe(context);
  if (status.ok()) status = StartArena(context, options->arena_mb);
  if (status.ok() && redis::RegisterInfoFunc(context, AddInfo) != redis::kOk) {
    status = Status::Error("the server refused the sections of INFO");
  }
  if (!status.ok()) StopWorkers();
  if (!status.ok()) return status;
  for (Engine engine : options->preload) state().loader.Push(std::make_unique<Preload>(engine));
  return status;
}

}  // namespace
}  // namespace penstock

extern "C" __attribute__((visibility("default"))) int RedisModule_OnLoad(RedisModuleCtx* context,
                                                                         RedisModuleString** argv, int argc) {
  using namespace penstock;
  constexpr int kModuleVersion = 100;  // 0.1.0
  Status status = redis::Bind(context);
  if (redis::SetModuleAttribs == nullptr) return redis::kError;
  if (redis::IsModuleNameBusy != nullptr && redis::IsModuleNameBusy("ai")) return redis::kError;
  redis::SetModuleAttribs(context, "ai", kModuleVersion, redis::kApiVersion);
  if (status.ok()) status = Start(context, argv, argc);
  if (status.ok()) return redis::kOk;
  if (redis::Log != nullptr)
    redis::Log(context, "warning", "the module cannot be loaded: %s", status.text().c_str());
  return redis::kError;
}

// The module `ai`: its commands, its types and what happens when it is loaded.
#include <dlfcn.h>

#include "commands.h"
#include "held_string.h"
#include "info.h"
#include "model_type.h"
#include "module_state.h"
#include "script_type.h"
#include "tensor_type.h"

namespace penstock {
namespace {

struct CommandEntry {
  const char* name;  // in upper case, as Redis shows it in its own errors
  redis::Command function;
  const char* flags;
  int key;  // position of the one key; 0: none, 1 with getkeys-api: the command tells
};

constexpr CommandEntry kCommands[] = {
    {"AI.TENSORSET", TensorSet, "write deny-oom", 1},
    {"AI.TENSORGET", TensorGet, "readonly", 1},
    {"AI.MODELSTORE", ModelStore, "write deny-oom", 1},
    {"AI.MODELGET", ModelGet, "readonly", 1},
    {"AI.MODELDEL", ModelDel, "write", 1},
    {"AI.MODELEXECUTE", ModelExecute, "write deny-oom getkeys-api", 1},
    {"AI.SCRIPTSTORE", ScriptStore, "write deny-oom", 1},
    {"AI.SCRIPTSET", ScriptSet, "write deny-oom", 1},
    {"AI.SCRIPTGET", ScriptGet, "readonly", 1},
    {"AI.SCRIPTDEL", ScriptDel, "write", 1},
    {"AI.SCRIPTEXECUTE", ScriptExecute, "write deny-oom getkeys-api", 1},
    {"AI.SCRIPTRUN", ScriptRun, "write deny-oom getkeys-api", 1},
    {"AI.INFO", RunInfo, "readonly", 1},
    {"AI.CONFIG", Config, "write", 0},
};

Status CreateCommands(RedisModuleCtx* context) {
  for (const CommandEntry& entry : kCommands) {
    int made = redis::CreateCommand(context, entry.name, entry.function, entry.flags, entry.key, entry.key,
                                    entry.key);
    if (made != redis::kOk) return Status::Error(std::string("the server refused the command ") + entry.name);
  }
  return Status::Ok();
}

Status CreateTypes(RedisModuleCtx* context) {
  bool made = RegisterTensorType(context) && RegisterModelType(context) && RegisterScriptType(context);
  return made ? Status::Ok() : Status::Error("the server refused the types AI_TENSOR, AI__MODEL, AI_SCRIPT");
}

void OnShutdown(RedisModuleCtx*, redis::Event, uint64_t, void*) { StopWorkers(); }

// A few times a second: answers what waited too long, releases what workers dropped.
void OnCron(RedisModuleCtx*, redis::Event, uint64_t, void*) {
  state().device_queues.Sweep(Clock::now());
  ReleaseDropped();
}

Status Subscribe(RedisModuleCtx* context) {
  bool heard = redis::SubscribeToServerEvent(context, redis::kShutdownEvent, OnShutdown) == redis::kOk &&
               redis::SubscribeToServerEvent(context, redis::kCronEvent, OnCron) == redis::kOk;
  return heard ? Status::Ok() : Status::Error("the server refused to tell of its events");
}

std::string FolderOfThisLibrary() {
  Dl_info info{};
  dladdr(reinterpret_cast<const void*>(&FolderOfThisLibrary), &info);
  std::string path = info.dli_fname != nullptr ? info.dli_fname : "";
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// Fails with the backend's own error in the log; models say it again when they are stored.
class Preload : public Task {
 public:
  void Run() override {
    auto opened = state().backends.Torch();
    if (!opened.ok()) redis::Log(nullptr, "warning", "%s", opened.status().text().c_str());
  }
  void NotRun(Skip) override {}
  void Deliver(std::unique_ptr<Task>) override {}
};

void* AllocateOrNull(size_t bytes) {
  return redis::TryAlloc != nullptr ? redis::TryAlloc(bytes) : redis::Alloc(bytes);
}

Status Start(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  std::vector<std::string_view> words;
  for (int i = 0; i < argc; ++i) words.push_back(View(argv[i]));
  auto options = ParseOptions(words);
  if (!options.ok()) return options.status();
  for (const std::string& key : options->without_effect) {
    redis::Log(context, "notice", "%s is accepted for RedisAI's sake and has no effect", key.c_str());
  }
  RememberMainThread();
  InstallAllocator({AllocateOrNull, redis::Calloc, redis::Free});
  redis::SetModuleOptions(context, redis::kHandleIoErrors);
  InstallState(
      new ModuleState(*options, FolderOfThisLibrary(), redis::GetDetachedThreadSafeContext(context)));
  Status status = CreateTypes(context);
  if (status.ok()) status = CreateCommands(context);
  if (status.ok()) status = Subscribe(context);
  if (status.ok() && redis::RegisterInfoFunc(context, AddInfo) != redis::kOk) {
    status = Status::Error("the server refused the sections of INFO");
  }
  if (!status.ok()) StopWorkers();
  if (status.ok() && options->preload_torch) state().loader.Push(std::make_unique<Preload>());
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

#include "script_type.h"

#include "held_string.h"
#include "keyspace.h"
#include "loading.h"
#include "module_state.h"
#include "rdb.h"
#include "reply.h"

namespace penstock {
namespace {

RedisModuleType* script_type = nullptr;

void* Load(RedisModuleIO* file, int version) {
  RdbReader reader(file);
  auto script = ReadScript(&reader, version);
  if (!script.ok()) return reader.Reject(script.status());
  auto definition = std::make_shared<ScriptDefinition>(std::move(*script));
  return new ScriptPtr(NewScript(&state().backends, std::move(definition)));
}

void Save(RedisModuleIO* file, void* value) {
  RdbWriter writer(file);
  WriteScript(&writer, ValueOf<Script>(value).definition());
}

// A script without entry points came by SCRIPTSET, which is what can bring it back.
void Rewrite(RedisModuleIO* file, RedisModuleString* key, void* value) {
  const ScriptDefinition& script = ValueOf<Script>(value).definition();
  std::vector<HeldString> names;
  std::vector<RedisModuleString*> pointers;
  for (const std::string& name : script.entry_points) names.push_back(HeldString::Copy(name));
  for (const HeldString& name : names) pointers.push_back(name.get());
  if (names.empty()) {
    redis::EmitAOF(file, "AI.SCRIPTSET", "sccbcb", key, script.device.c_str(), "TAG", script.tag.data(),
                   script.tag.size(), "SOURCE", script.source.data(), script.source.size());
    return;
  }
  redis::EmitAOF(file, "AI.SCRIPTSTORE", "sccbclvcb", key, script.device.c_str(), "TAG", script.tag.data(),
                 script.tag.size(), "ENTRY_POINTS", static_cast<long long>(names.size()), pointers.data(),
                 pointers.size(), "SOURCE", script.source.data(), script.source.size());
}

size_t MemoryUsage(const void* value) { return sizeof(ScriptPtr) + ValueOf<Script>(value).MemoryBytes(); }

// A compiled script is always worth another thread.
size_t FreeEffort(RedisModuleString*, const void*) { return 65; }

void* Copy(RedisModuleString*, RedisModuleString*, const void* value) {
  return new ScriptPtr(NewScript(&state().backends, ValueOf<Script>(value).shared_definition()));
}

void Digest(RedisModuleDigest* digest, void* value) {
  const ScriptDefinition& script = ValueOf<Script>(value).definition();
  for (const std::string* text : {&script.device, &script.tag, &script.source}) AddToDigest(digest, *text);
  AddToDigest(digest, script.entry_points);
  redis::DigestEndSequence(digest);
}

}  // namespace

bool RegisterScriptType(RedisModuleCtx* context) {
  redis::TypeMethods methods;
  methods.rdb_load = Load;
  methods.rdb_save = Save;
  methods.aof_rewrite = Rewrite;
  methods.memory_usage = MemoryUsage;
  methods.digest = Digest;
  methods.free = FreeValue<Script>;
  methods.free_effort = FreeEffort;
  methods.copy = Copy;
  script_type = redis::CreateDataType(context, "AI_SCRIPT", kRdbVersion, &methods);
  return script_type != nullptr;
}

Result<ScriptPtr> FindScript(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindValue<Script>(context, key, script_type);
  if (!found.ok() || *found != nullptr) return found;
  auto& pending = state().pending_scripts;
  auto loading = pending.find({redis::GetSelectedDb(context), std::string(View(key))});
  return loading == pending.end() ? ScriptPtr() : loading->second;
}

Result<ScriptPtr> GetScript(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindScript(context, key);
  if (found.ok() && *found == nullptr) return Status::Error("script key is empty");
  return found;
}

const Script* ScriptIn(RedisModuleKey* key) { return ValueIn<Script>(key, script_type); }

Result<ScriptPtr> GetStoredScript(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindValue<Script>(context, key, script_type);
  if (found.ok() && *found == nullptr) return Status::Error("script key is empty");
  return found;
}

Status SetScript(RedisModuleCtx* context, RedisModuleString* key, ScriptPtr script) {
  if (!IsLoading(context)) RetireValue<Script>(context, key, script_type);
  return SetValue<Script>(context, key, script_type, std::move(script));
}

Status DeleteScript(RedisModuleCtx* context, RedisModuleString* key) {
  RetireValue<Script>(context, key, script_type);
  auto deleted = DeleteValue<Script>(context, key, script_type);
  if (!deleted.ok()) return deleted.status();
  return *deleted ? Status::Ok() : Status::Error("script key is empty");
}

}  // namespace penstock

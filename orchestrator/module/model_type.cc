#include "model_type.h"

#include <algorithm>
#include <utility>

#include "background_load.h"
#include "held_string.h"
#include "keyspace.h"
#include "large_files.h"
#include "loading.h"
#include "module_state.h"
#include "rdb.h"
#include "reply.h"

namespace penstock {
namespace {

RedisModuleType* model_type = nullptr;

// The file is read, but loaded only when the model is first run: a restart must not wait for torch.
void* Load(RedisModuleIO* file, int version) {
  RdbReader reader(file);
  auto model = ReadModel(&reader, version);
  if (!model.ok()) return reader.Reject(model.status());
  auto definition = std::make_shared<ModelDefinition>(std::move(*model));
  return new ModelPtr(MakeModel(std::move(definition), nullptr));
}

// Runs in a forked child too: takes no lock.
void Save(RedisModuleIO* file, void* value) {
  const Model& stored = ValueOf<Model>(value);
  RdbWriter writer(file);
  WriteModel(&writer, stored.definition(), stored.InputNames(), ChunkBytes(stored.definition()));
}

// Each of these words is refused without the one before it, be that zero.
void AddBatching(std::vector<HeldString>* words, const ModelDefinition& model) {
  const std::pair<const char*, int64_t> pairs[] = {{"BATCHSIZE", model.batch_size},
                                                   {"MINBATCHSIZE", model.min_batch_size},
                                                   {"MINBATCHTIMEOUT", model.min_batch_timeout_ms}};
  size_t count = std::size(pairs);
  while (count > 0 && pairs[count - 1].second == 0) --count;
  for (size_t i = 0; i < count; ++i) {
    words->push_back(HeldString::Copy(pairs[i].first));
    words->push_back(HeldString::Copy(std::to_string(pairs[i].second)));
  }
}

void AddNames(std::vector<HeldString>* words, const char* keyword, const std::vector<std::string>& names) {
  words->push_back(HeldString::Copy(keyword));
  words->push_back(HeldString::Copy(std::to_string(names.size())));
  for (const std::string& name : names) words->push_back(HeldString::Copy(name));
}

void Rewrite(RedisModuleIO* file, RedisModuleString* key, void* value) {
  const ModelDefinition& model = ValueOf<Model>(value).definition();
  std::vector<HeldString> words;
  words.push_back(HeldString::Copy(BackendName(model.backend)));
  words.push_back(HeldString::Copy(model.device));
  words.push_back(HeldString::Copy("TAG"));
  words.push_back(HeldString::Copy(model.tag));
  AddBatching(&words, model);
  if (model.backend == BackendKind::kTensorflow) {
    AddNames(&words, "INPUTS", model.inputs);
    AddNames(&words, "OUTPUTS", model.outputs);
  }
  words.push_back(HeldString::Copy("BLOB"));
  AddFileWords(model, &words);
  std::vector<RedisModuleString*> pointers;
  for (const HeldString& word : words) pointers.push_back(word.get());
  redis::EmitAOF(file, "AI.MODELSTORE", "sv", key, pointers.data(), pointers.size());
}

size_t MemoryUsage(const void* value) { return sizeof(ModelPtr) + ValueOf<Model>(value).MemoryBytes(); }

// A loaded model is always worth another thread.
size_t FreeEffort(RedisModuleString*, const void* value) {
  return 65 + ValueOf<Model>(value).definition().file->pieces().size();
}

// Another Model of the same file: it shares the loaded program, and counts its own runs.
void* Copy(RedisModuleString*, RedisModuleString*, const void* value) {
  const ModelPtr& from = *static_cast<const ModelPtr*>(value);
  auto copy = MakeModel(from->shared_definition(), from);
  if (from->settled()) LoadInBackground(copy);  // else it would keep what is deleted until its first run
  return new ModelPtr(std::move(copy));
}

// Names only where the file does not say them: a copy that came by an RDB file has the others too.
void Digest(RedisModuleDigest* digest, void* value) {
  const ModelDefinition& model = ValueOf<Model>(value).definition();
  for (std::string_view text : {std::string_view(BackendName(model.backend)), std::string_view(model.device),
                                std::string_view(model.tag)})
    AddToDigest(digest, text);
  for (int64_t number : {model.batch_size, model.min_batch_size, model.min_batch_timeout_ms})
    redis::DigestAddLongLong(digest, number);
  if (model.backend == BackendKind::kTensorflow) {
    for (const auto* names : {&model.inputs, &model.outputs}) AddToDigest(digest, *names);
  }
  std::string scratch;
  AddToDigest(digest, model.file->Part(0, model.file->size(), &scratch));
  redis::DigestEndSequence(digest);
}

}  // namespace

ModelPtr MakeModel(std::shared_ptr<const ModelDefinition> definition, ModelPtr before) {
  return NewModel(&state().backends, std::move(definition), std::move(before), MoveToDiskIfLarge);
}

bool RegisterModelType(RedisModuleCtx* context) {
  redis::TypeMethods methods;
  methods.rdb_load = Load;
  methods.rdb_save = Save;
  methods.aof_rewrite = Rewrite;
  methods.memory_usage = MemoryUsage;
  methods.digest = Digest;
  methods.free = FreeValue<Model>;
  methods.free_effort = FreeEffort;
  methods.copy = Copy;
  model_type = redis::CreateDataType(context, "AI__MODEL", kRdbVersion, &methods);
  return model_type != nullptr;
}

Result<ModelPtr> FindModel(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindValue<Model>(context, key, model_type);
  if (!found.ok() || *found != nullptr) return found;
  auto& pending = state().pending_models;
  auto loading = pending.find({redis::GetSelectedDb(context), std::string(View(key))});
  return loading == pending.end() ? ModelPtr() : loading->second;
}

namespace {

// In place: nobody who watches the key need hear of it.
ModelPtr LoadAgain(RedisModuleCtx* context, RedisModuleString* name, const ModelPtr& failed) {
  OpenedKey key(context, name, redis::kRead);
  if (!key.Holds(model_type)) return failed;  // its store has not ended, and will tell
  auto& value = *static_cast<ModelPtr*>(redis::ModuleTypeGetValue(key.get()));
  Retire(std::exchange(value, MakeModel(failed->shared_definition(), nullptr)));
  value->stats().GoOnFrom(failed->stats());
  return value;
}

}  // namespace

Result<ModelPtr> GetModel(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindModel(context, key);
  if (found.ok() && *found == nullptr) return Status::Error("model key is empty");
  if (found.ok() && (*found)->lacked_memory()) return LoadAgain(context, key, *found);
  return found;
}

const Model* ModelIn(RedisModuleKey* key) { return ValueIn<Model>(key, model_type); }

Result<ModelPtr> GetStoredModel(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindValue<Model>(context, key, model_type);
  if (found.ok() && *found == nullptr) return Status::Error("model key is empty");
  return found;
}

Status SetModel(RedisModuleCtx* context, RedisModuleString* key, ModelPtr model) {
  if (!IsLoading(context)) RetireValue<Model>(context, key, model_type);
  return SetValue<Model>(context, key, model_type, std::move(model));
}

void AddFileWords(const ModelDefinition& model, std::vector<HeldString>* words) {
  size_t bytes = model.file->size();
  size_t chunk = ChunkBytes(model);
  std::string scratch;
  for (size_t start = 0; start < bytes; start += chunk) {
    words->push_back(HeldString::Copy(model.file->Part(start, std::min(chunk, bytes - start), &scratch)));
  }
}

size_t ChunkBytes(const ModelDefinition& model) {
  constexpr size_t kMostPieces = 1024;
  return std::max(static_cast<size_t>(state().options.model_chunk_bytes),
                  model.file->size() / kMostPieces + 1);
}

Status DeleteModel(RedisModuleCtx* context, RedisModuleString* key) {
  RetireValue<Model>(context, key, model_type);
  auto deleted = DeleteValue<Model>(context, key, model_type);
  if (!deleted.ok()) return deleted.status();
  return *deleted ? Status::Ok() : Status::Error("model key is empty");
}

}  // namespace penstock

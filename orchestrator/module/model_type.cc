#include "model_type.h"

#include "held_string.h"
#include "keyspace.h"
#include "loading.h"
#include "module_state.h"
#include "rdb.h"

namespace penstock {
namespace {

RedisModuleType* model_type = nullptr;

std::vector<std::string> LoadNames(RdbReader* reader) {
  std::vector<std::string> names;
  uint64_t count = reader->Unsigned();
  for (uint64_t i = 0; i < count && reader->ok(); ++i) names.push_back(reader->CText());
  return names;
}

void LoadFile(RdbReader* reader, ModelDefinition* model) {
  reader->Unsigned();  // the length, which the pieces say too
  uint64_t count = reader->Unsigned();
  for (uint64_t i = 0; i < count && reader->ok(); ++i) {
    BufferPtr piece = reader->Bytes();
    if (piece != nullptr) model->pieces.push_back(std::move(piece));
  }
}

// The file is read, but loaded only when the model is first run: a restart must not wait for torch.
void* Load(RedisModuleIO* file, int version) {
  RdbReader reader(file);
  if (version != kRdbVersion) return reader.Reject("a model of an unknown encoding version");
  auto model = std::make_shared<ModelDefinition>();
  uint64_t backend = reader.Unsigned();
  if (backend > static_cast<uint64_t>(BackendKind::kOnnx))
    return reader.Reject("a model of an unknown backend");
  model->backend = static_cast<BackendKind>(backend);
  model->device = reader.CText();
  model->tag = reader.Text();
  model->batch_size = static_cast<int64_t>(reader.Unsigned());
  model->min_batch_size = static_cast<int64_t>(reader.Unsigned());
  model->min_batch_timeout_ms = static_cast<int64_t>(reader.Unsigned());
  model->inputs = LoadNames(&reader);
  model->outputs = LoadNames(&reader);
  LoadFile(&reader, model.get());
  if (!reader.ok()) return nullptr;
  if (!ParseDevice(model->device)) return reader.Reject("a model of an unknown device");
  return new ModelPtr(NewModel(&state().backends, std::move(model), nullptr));
}

void SaveNames(RedisModuleIO* file, const std::vector<std::string>& names) {
  redis::SaveUnsigned(file, names.size());
  for (const std::string& name : names) SaveCText(file, name);
}

// In chunks of MODEL_CHUNK_SIZE, however the file came.
void SaveFile(RedisModuleIO* file, const ModelDefinition& model) {
  size_t bytes = model.FileBytes();
  size_t chunk = static_cast<size_t>(state().options.model_chunk_bytes);
  redis::SaveUnsigned(file, bytes);
  redis::SaveUnsigned(file, (bytes + chunk - 1) / chunk);
  std::string scratch;
  for (size_t start = 0; start < bytes; start += chunk) {
    SaveText(file, model.FilePart(start, std::min(chunk, bytes - start), &scratch));
  }
}

// Runs in a forked child too: takes no lock.
void Save(RedisModuleIO* file, void* value) {
  const Model& stored = ValueOf<Model>(value);
  const ModelDefinition& model = stored.definition();
  redis::SaveUnsigned(file, static_cast<uint64_t>(model.backend));
  SaveCText(file, model.device);
  SaveText(file, model.tag);
  redis::SaveUnsigned(file, static_cast<uint64_t>(model.batch_size));
  redis::SaveUnsigned(file, static_cast<uint64_t>(model.min_batch_size));
  redis::SaveUnsigned(file, static_cast<uint64_t>(model.min_batch_timeout_ms));
  SaveNames(file, stored.InputNames());
  SaveNames(file, model.outputs);
  SaveFile(file, model);
}

void AddOption(std::vector<HeldString>* words, const char* name, int64_t value) {
  if (value == 0) return;
  words->push_back(HeldString::Copy(name));
  words->push_back(HeldString::Copy(std::to_string(value)));
}

void AddNames(std::vector<HeldString>* words, const char* keyword, const std::vector<std::string>& names) {
  words->push_back(HeldString::Copy(keyword));
  words->push_back(HeldString::Copy(std::to_string(names.size())));
  for (const std::string& name : names) words->push_back(HeldString::Copy(name));
}

void AddFile(std::vector<HeldString>* words, const ModelDefinition& model) {
  size_t bytes = model.FileBytes();
  size_t chunk = static_cast<size_t>(state().options.model_chunk_bytes);
  std::string scratch;
  words->push_back(HeldString::Copy("BLOB"));
  for (size_t start = 0; start < bytes; start += chunk) {
    words->push_back(HeldString::Copy(model.FilePart(start, std::min(chunk, bytes - start), &scratch)));
  }
}

void Rewrite(RedisModuleIO* file, RedisModuleString* key, void* value) {
  const ModelDefinition& model = ValueOf<Model>(value).definition();
  std::vector<HeldString> words;
  words.push_back(HeldString::Copy(BackendName(model.backend)));
  words.push_back(HeldString::Copy(model.device));
  words.push_back(HeldString::Copy("TAG"));
  words.push_back(HeldString::Copy(model.tag));
  AddOption(&words, "BATCHSIZE", model.batch_size);
  AddOption(&words, "MINBATCHSIZE", model.min_batch_size);
  AddOption(&words, "MINBATCHTIMEOUT", model.min_batch_timeout_ms);
  if (model.backend == BackendKind::kTensorflow) {
    AddNames(&words, "INPUTS", model.inputs);
    AddNames(&words, "OUTPUTS", model.outputs);
  }
  AddFile(&words, model);
  std::vector<RedisModuleString*> pointers;
  for (const HeldString& word : words) pointers.push_back(word.get());
  redis::EmitAOF(file, "AI.MODELSTORE", "sv", key, pointers.data(), pointers.size());
}

size_t MemoryUsage(const void* value) { return sizeof(ModelPtr) + ValueOf<Model>(value).MemoryBytes(); }

// A loaded model is always worth another thread.
size_t FreeEffort(RedisModuleString*, const void* value) {
  return 65 + ValueOf<Model>(value).definition().pieces.size();
}

// Another Model of the same file: it shares the loaded program, and counts its own runs.
void* Copy(RedisModuleString*, RedisModuleString*, const void* value) {
  const ModelPtr& from = *static_cast<const ModelPtr*>(value);
  return new ModelPtr(NewModel(&state().backends, from->shared_definition(), from));
}

void Digest(RedisModuleDigest* digest, void* value) {
  const ModelDefinition& model = ValueOf<Model>(value).definition();
  std::string head = std::string(BackendName(model.backend)) + " " + model.device + " " + model.tag;
  redis::DigestAddStringBuffer(digest, reinterpret_cast<unsigned char*>(head.data()), head.size());
  std::string scratch;
  std::string bytes(model.FilePart(0, model.FileBytes(), &scratch));
  redis::DigestAddStringBuffer(digest, reinterpret_cast<unsigned char*>(bytes.data()), bytes.size());
  redis::DigestEndSequence(digest);
}

}  // namespace

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

Result<ModelPtr> GetModel(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindModel(context, key);
  if (found.ok() && *found == nullptr) return Status::Error("model key is empty");
  return found;
}

Result<ModelPtr> GetStoredModel(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindValue<Model>(context, key, model_type);
  if (found.ok() && *found == nullptr) return Status::Error("model key is empty");
  return found;
}

Status SetModel(RedisModuleCtx* context, RedisModuleString* key, ModelPtr model) {
  return SetValue<Model>(context, key, model_type, std::move(model));
}

Status DeleteModel(RedisModuleCtx* context, RedisModuleString* key) {
  auto deleted = DeleteValue<Model>(context, key, model_type);
  if (!deleted.ok()) return deleted.status();
  return *deleted ? Status::Ok() : Status::Error("model key is empty");
}

}  // namespace penstock

#include "tensor_type.h"

#include "keyspace.h"
#include "rdb.h"

namespace penstock {
namespace {

RedisModuleType* tensor_type = nullptr;

void* Load(RedisModuleIO* file, int version) {
  RdbReader reader(file);
  auto tensor = ReadTensor(&reader, version);
  return tensor.ok() ? new TensorPtr(*tensor) : reader.Reject(tensor.status());
}

void Save(RedisModuleIO* file, void* value) {
  RdbWriter writer(file);
  WriteTensor(&writer, ValueOf<const Tensor>(value));
}

// TYPE dims.. BLOB; the bytes themselves follow.
std::vector<HeldString> CommandWords(const Tensor& tensor) {
  std::vector<HeldString> words;
  words.reserve(tensor.dims().size() + 3);
  words.push_back(HeldString::Copy(DataTypeName(tensor.type())));
  for (int64_t dim : tensor.dims()) words.push_back(HeldString::Copy(std::to_string(dim)));
  words.push_back(HeldString::Copy("BLOB"));
  return words;
}

std::vector<RedisModuleString*> Pointers(const std::vector<HeldString>& words) {
  std::vector<RedisModuleString*> pointers;
  for (const HeldString& word : words) pointers.push_back(word.get());
  return pointers;
}

void Rewrite(RedisModuleIO* file, RedisModuleString* key, void* value) {
  const auto& tensor = ValueOf<const Tensor>(value);
  auto words = CommandWords(tensor);
  auto pointers = Pointers(words);
  redis::EmitAOF(file, "AI.TENSORSET", "svb", key, pointers.data(), pointers.size(), tensor.bytes().data(),
                 tensor.bytes().size());
}

size_t MemoryUsage(const void* value) {
  return sizeof(TensorPtr) + ValueOf<const Tensor>(value).MemoryBytes();
}

// Freeing is one call, but giving a large block back to the system takes time.
size_t FreeEffort(RedisModuleString*, const void* value) {
  constexpr size_t kBytesPerEffort = 1 << 16;
  return 1 + ValueOf<const Tensor>(value).bytes().size() / kBytesPerEffort;
}

// Tensors never change, so a copy is another name for the same one.
void* Copy(RedisModuleString*, RedisModuleString*, const void* value) {
  return new TensorPtr(*static_cast<const TensorPtr*>(value));
}

void Digest(RedisModuleDigest* digest, void* value) {
  const auto& tensor = ValueOf<const Tensor>(value);
  redis::DigestAddLongLong(digest, static_cast<long long>(tensor.type()));
  for (int64_t dim : tensor.dims()) redis::DigestAddLongLong(digest, dim);
  AddToDigest(digest, tensor.bytes());
  redis::DigestEndSequence(digest);
}

}  // namespace

bool RegisterTensorType(RedisModuleCtx* context) {
  redis::TypeMethods methods;
  methods.rdb_load = Load;
  methods.rdb_save = Save;
  methods.aof_rewrite = Rewrite;
  methods.memory_usage = MemoryUsage;
  methods.digest = Digest;
  methods.free = FreeValue<const Tensor>;
  methods.free_effort = FreeEffort;
  methods.copy = Copy;
  tensor_type = redis::CreateDataType(context, "AI_TENSOR", kRdbVersion, &methods);
  return tensor_type != nullptr;
}

Result<TensorPtr> FindTensor(RedisModuleCtx* context, RedisModuleString* key) {
  return FindValue<const Tensor>(context, key, tensor_type);
}

Result<TensorPtr> GetTensor(RedisModuleCtx* context, RedisModuleString* key) {
  auto found = FindTensor(context, key);
  if (found.ok() && *found == nullptr) return Status::Error("tensor key is empty or in a different shard");
  return found;
}

Status SetTensor(RedisModuleCtx* context, RedisModuleString* key, TensorPtr tensor) {
  return SetValue<const Tensor>(context, key, tensor_type, std::move(tensor));
}

void ReplicateTensor(RedisModuleCtx* context, RedisModuleString* key, const Tensor& tensor) {
  auto words = CommandWords(tensor);
  auto pointers = Pointers(words);
  if (auto* held = dynamic_cast<const StringBuffer*>(&tensor.buffer())) {  // no copy when nobody listens
    redis::Replicate(context, "AI.TENSORSET", "svs", key, pointers.data(), pointers.size(), held->string());
    return;
  }
  redis::Replicate(context, "AI.TENSORSET", "svb", key, pointers.data(), pointers.size(),
                   tensor.bytes().data(), tensor.bytes().size());
}

}  // namespace penstock

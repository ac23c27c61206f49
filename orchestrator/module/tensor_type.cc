#include "tensor_type.h"

#include "keyspace.h"
#include "rdb.h"

namespace penstock {
namespace {

RedisModuleType* tensor_type = nullptr;

// How the RDB file names types: a kind and a number of bits.
struct RdbType {
  DataType type;
  uint64_t code;
  uint64_t bits;
};

constexpr RdbType kRdbTypes[] = {
    {DataType::kFloat, 2, 32}, {DataType::kDouble, 2, 64}, {DataType::kInt8, 0, 8},
    {DataType::kInt16, 0, 16}, {DataType::kInt32, 0, 32},  {DataType::kInt64, 0, 64},
    {DataType::kUint8, 1, 8},  {DataType::kUint16, 1, 16}, {DataType::kBool, 6, 8},
    {DataType::kString, 7, 8},
};

std::optional<DataType> FromRdb(uint64_t code, uint64_t bits) {
  for (const RdbType& entry : kRdbTypes) {
    if (entry.code == code && (entry.bits == bits || entry.type == DataType::kString)) return entry.type;
  }
  return std::nullopt;
}

void* Load(RedisModuleIO* file, int version) {
  RdbReader reader(file);
  if (version != kRdbVersion) return reader.Reject("a tensor of an unknown encoding version");
  uint64_t code = reader.Unsigned();
  auto type = FromRdb(code, reader.Unsigned());
  int64_t rank = reader.Signed();
  if (reader.ok() && (!type || rank < 0))
    return reader.Reject("a tensor of an unknown type or a negative rank");
  std::vector<int64_t> dims;
  for (int64_t i = 0; i < rank && reader.ok(); ++i) dims.push_back(reader.Signed());
  BufferPtr bytes = reader.Bytes();
  if (!reader.ok()) return nullptr;
  auto tensor = Tensor::Make(*type, std::move(dims), std::move(bytes));
  if (!tensor.ok()) return reader.Reject(tensor.status().text().c_str());
  uint64_t offsets = *type == DataType::kString ? *ElementCount((*tensor)->dims()) : 0;
  for (uint64_t i = 0; i < offsets && reader.ok(); ++i) reader.Unsigned();
  return reader.ok() ? new TensorPtr(*tensor) : nullptr;
}

void Save(RedisModuleIO* file, void* value) {
  const auto& tensor = ValueOf<const Tensor>(value);
  const RdbType& entry = kRdbTypes[static_cast<size_t>(tensor.type())];
  redis::SaveUnsigned(file, entry.code);
  redis::SaveUnsigned(file, entry.bits);
  redis::SaveSigned(file, static_cast<int64_t>(tensor.dims().size()));
  for (int64_t dim : tensor.dims()) redis::SaveSigned(file, dim);
  SaveText(file, tensor.bytes());
  if (tensor.type() != DataType::kString) return;
  for (size_t offset : tensor.StringOffsets()) redis::SaveUnsigned(file, offset);
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
  std::string bytes(tensor.bytes());
  redis::DigestAddStringBuffer(digest, reinterpret_cast<unsigned char*>(bytes.data()), bytes.size());
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

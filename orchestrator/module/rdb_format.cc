#include "rdb_format.h"

#include <algorithm>
#include <iterator>
#include <optional>

namespace penstock {
namespace {

// How the file names types: a kind and a number of bits. In the order of DataType; RedisAI knows the first
// ten, the kinds of the others are DLPack's.
struct RdbType {
  DataType type;
  uint64_t code;
  uint64_t bits;
};

constexpr RdbType kRdbTypes[] = {
    {DataType::kFloat, 2, 32},       {DataType::kDouble, 2, 64},  {DataType::kInt8, 0, 8},
    {DataType::kInt16, 0, 16},       {DataType::kInt32, 0, 32},   {DataType::kInt64, 0, 64},
    {DataType::kUint8, 1, 8},        {DataType::kUint16, 1, 16},  {DataType::kBool, 6, 8},
    {DataType::kString, 7, 8},       {DataType::kFloat16, 2, 16}, {DataType::kBfloat16, 4, 16},
    {DataType::kUint32, 1, 32},      {DataType::kUint64, 1, 64},  {DataType::kComplex64, 5, 64},
    {DataType::kComplex128, 5, 128},
};

// The first version that has each of these.
constexpr int kPlainTensors = 4;      // type and shape alone; before, all of DLPack's fields
constexpr int kMinBatchTimeouts = 2;  // and tags without a NUL byte
constexpr int kChunks = 1;
constexpr int kEntryPoints = 3;

std::optional<DataType> FromRdb(uint64_t code, uint64_t bits) {
  for (const RdbType& entry : kRdbTypes) {
    if (entry.code == code && (entry.bits == bits || entry.type == DataType::kString)) return entry.type;
  }
  return std::nullopt;
}

Status Check(const RdbInput& input, int version, const char* what) {
  if (version < 0 || version > kRdbVersion) {
    return Status::Error(std::string(what) + " of encoding version " + std::to_string(version) +
                         ", but none newer than " + std::to_string(kRdbVersion) + " can be read");
  }
  return input.ok() ? Status::Ok() : Status::Error(std::string(what) + " that ends too early");
}

std::string Text(RdbInput* input) {
  BufferPtr bytes = input->Bytes();
  return bytes == nullptr ? std::string() : std::string(bytes->view());
}

// A text that was written with its NUL byte.
std::string CText(RdbInput* input) {
  std::string text = Text(input);
  if (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

std::string Tag(RdbInput* input, int version) {
  return version < kMinBatchTimeouts ? CText(input) : Text(input);
}

std::vector<std::string> CTexts(RdbInput* input) {
  std::vector<std::string> texts;
  uint64_t count = input->Unsigned();
  for (uint64_t i = 0; i < count && input->ok(); ++i) texts.push_back(CText(input));
  return texts;
}

void WriteCText(RdbOutput* output, const std::string& text) {
  output->Bytes({text.c_str(), text.size() + 1});
}

void WriteCTexts(RdbOutput* output, const std::vector<std::string>& texts) {
  output->Unsigned(texts.size());
  for (const std::string& text : texts) WriteCText(output, text);
}

struct Head {
  std::optional<DataType> type;
  std::vector<int64_t> dims;
  bool known = true;
};

Head ReadHead(RdbInput* input) {
  Head head;
  uint64_t code = input->Unsigned();
  head.type = FromRdb(code, input->Unsigned());
  int64_t rank = input->Signed();
  head.known = rank >= 0;
  for (int64_t i = 0; i < rank && input->ok(); ++i) head.dims.push_back(input->Signed());
  return head;
}

// Versions 0 to 3: the whole of a DLPack tensor, which was always row-major and in the CPU's memory.
Head ReadOldHead(RdbInput* input) {
  constexpr uint64_t kCpu = 1;
  Head head;
  head.known = input->Unsigned() == kCpu;
  input->Unsigned();  // which of the CPUs
  uint64_t bits = input->Unsigned();
  head.type = FromRdb(input->Unsigned(), bits);
  head.known = input->Unsigned() == 1 && head.known;  // lanes
  uint64_t rank = input->Unsigned();
  for (uint64_t i = 0; i < rank && input->ok(); ++i)
    head.dims.push_back(static_cast<int64_t>(input->Unsigned()));
  for (uint64_t i = 0; i < rank && input->ok(); ++i) input->Unsigned();  // strides
  head.known = input->Unsigned() == 0 && head.known;                     // bytes before the first element
  return head;
}

void ReadFile(RdbInput* input, int version, ModelDefinition* model) {
  uint64_t count = 1;
  if (version >= kChunks) {
    input->Unsigned();  // the length, which the pieces say too
    count = input->Unsigned();
  }
  for (uint64_t i = 0; i < count && input->ok(); ++i) {
    BufferPtr piece = input->Bytes();
    if (piece != nullptr) model->file->Add(std::move(piece));
  }
}

}  // namespace

Result<TensorPtr> ReadTensor(RdbInput* input, int version) {
  Status status = Check(*input, version, "a tensor");
  if (!status.ok()) return status;
  Head head = version < kPlainTensors ? ReadOldHead(input) : ReadHead(input);
  if (input->ok() && (!head.known || !head.type))
    return Status::Error("a tensor of an unknown type or a negative rank");
  BufferPtr bytes = input->Bytes();
  status = Check(*input, version, "a tensor");
  if (!status.ok()) return status;
  auto tensor = Tensor::Make(*head.type, std::move(head.dims), std::move(bytes));
  if (!tensor.ok() || *head.type != DataType::kString) return tensor;
  uint64_t offsets = *ElementCount((*tensor)->dims());  // known from the bytes
  for (uint64_t i = 0; i < offsets && input->ok(); ++i) input->Unsigned();
  status = Check(*input, version, "a tensor");
  if (!status.ok()) return status;
  return tensor;
}

Result<ModelDefinition> ReadModel(RdbInput* input, int version) {
  Status status = Check(*input, version, "a model");
  if (!status.ok()) return status;
  ModelDefinition model;
  uint64_t backend = input->Unsigned();
  if (backend > static_cast<uint64_t>(BackendKind::kOnnx))
    return Status::Error("a model of an unknown backend");
  model.backend = static_cast<BackendKind>(backend);
  model.device = CText(input);
  model.tag = Tag(input, version);
  model.batch_size = static_cast<int64_t>(input->Unsigned());
  model.min_batch_size = static_cast<int64_t>(input->Unsigned());
  if (version >= kMinBatchTimeouts) model.min_batch_timeout_ms = static_cast<int64_t>(input->Unsigned());
  model.inputs = CTexts(input);
  model.outputs = CTexts(input);
  ReadFile(input, version, &model);
  status = Check(*input, version, "a model");
  if (!status.ok()) return status;
  if (model.batch_size < 0 || model.min_batch_size < 0 || model.min_batch_timeout_ms < 0)
    return Status::Error("a model of a negative batch size or timeout");
  auto device = ParseDevice(model.device);
  if (!device) return Status::Error("a model of an unknown device");
  model.device = *device;
  return model;
}

Result<ScriptDefinition> ReadScript(RdbInput* input, int version) {
  Status status = Check(*input, version, "a script");
  if (!status.ok()) return status;
  ScriptDefinition script;
  script.device = CText(input);
  script.tag = Tag(input, version);
  script.source = CText(input);
  if (version >= kEntryPoints) script.entry_points = CTexts(input);
  status = Check(*input, version, "a script");
  if (!status.ok()) return status;
  auto device = ParseDevice(script.device);
  if (!device) return Status::Error("a script of an unknown device");
  script.device = *device;
  return script;
}

void WriteTensor(RdbOutput* output, const Tensor& tensor) {
  const RdbType& entry = kRdbTypes[static_cast<size_t>(tensor.type())];
  output->Unsigned(entry.code);
  output->Unsigned(entry.bits);
  output->Signed(static_cast<int64_t>(tensor.dims().size()));
  for (int64_t dim : tensor.dims()) output->Signed(dim);
  output->Bytes(tensor.bytes());
  if (tensor.type() != DataType::kString) return;
  for (size_t offset : tensor.StringOffsets()) output->Unsigned(offset);
}

void WriteModel(RdbOutput* output, const ModelDefinition& model, const std::vector<std::string>& inputs,
                size_t chunk_bytes) {
  output->Unsigned(static_cast<uint64_t>(model.backend));
  WriteCText(output, model.device);
  output->Bytes(model.tag);
  output->Unsigned(static_cast<uint64_t>(model.batch_size));
  output->Unsigned(static_cast<uint64_t>(model.min_batch_size));
  output->Unsigned(static_cast<uint64_t>(model.min_batch_timeout_ms));
  WriteCTexts(output, inputs);
  WriteCTexts(output, model.outputs);
  size_t bytes = model.file->size();
  output->Unsigned(bytes);
  output->Unsigned((bytes + chunk_bytes - 1) / chunk_bytes);
  std::string scratch;
  for (size_t start = 0; start < bytes; start += chunk_bytes)
    output->Bytes(model.file->Part(start, std::min(chunk_bytes, bytes - start), &scratch));
}

void WriteScript(RdbOutput* output, const ScriptDefinition& script) {
  WriteCText(output, script.device);
  output->Bytes(script.tag);
  WriteCText(output, script.source);
  WriteCTexts(output, script.entry_points);
}

}  // namespace penstock

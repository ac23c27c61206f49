// AI.TENSORSET and AI.TENSORGET.
#include "commands.h"
#include "held_string.h"
#include "reply.h"
#include "tensor_type.h"
#include "tensor_values.h"

namespace penstock {
namespace {

struct TensorWords {
  DataType type = DataType::kFloat;
  std::vector<int64_t> dims;
  std::optional<size_t> blob;  // position of the bytes
  bool values = false;
  std::vector<size_t> elements;
};

Status TakeDims(Arguments* words, std::vector<int64_t>* dims) {
  while (!words->done() && !EqualsAnyCase(words->Peek(), "BLOB") && !EqualsAnyCase(words->Peek(), "VALUES")) {
    auto dim = words->NextInteger();
    if (!dim || *dim < 0) return Status::Error("invalid or negative value found in tensor shape");
    dims->push_back(*dim);
  }
  return Status::Ok();
}

Result<TensorWords> ParseTensorSet(Arguments words) {
  TensorWords tensor;
  words.Next();  // the key
  auto type = ParseDataType(words.Next());
  if (!type) return Status::Error("invalid data type");
  tensor.type = *type;
  Status status = TakeDims(&words, &tensor.dims);
  if (!status.ok()) return status;
  if (words.Take("BLOB")) {
    if (words.left() != 1) {
      return Status::Error(
          "a single binary string should come after the BLOB argument in 'AI.TENSORSET' command");
    }
    tensor.blob = words.position();
  } else if (words.Take("VALUES")) {
    tensor.values = true;
    tensor.elements = words.NextPositions(words.left());
  }
  return tensor;
}

// A held argument is not copied; Redis would have thrown it away.
Result<TensorPtr> MakeTensor(const TensorWords& words, const Arguments& arguments, RedisModuleString** argv) {
  if (words.blob) {
    return Tensor::Make(words.type, words.dims,
                        std::make_shared<StringBuffer>(HeldString(argv[*words.blob])));
  }
  if (!words.values) return Tensor::Zeros(words.type, words.dims);
  std::vector<std::string_view> elements;
  for (size_t at : words.elements) elements.push_back(arguments.word(at));
  return TensorFromValues(words.type, words.dims, elements);
}

struct Wanted {
  bool meta = false;
  bool blob = false;
  bool values = false;
};

// Nothing asked for means META BLOB.
Result<Wanted> ParseTensorGet(Arguments words) {
  Wanted wanted;
  words.Next();  // the key
  while (!words.done()) {
    if (words.Take("META")) {
      wanted.meta = true;
    } else if (words.Take("BLOB")) {
      wanted.blob = true;
    } else if (words.Take("VALUES")) {
      wanted.values = true;
    } else {
      return Status::Error("unsupported data format");
    }
  }
  if (wanted.blob && wanted.values) return Status::Error("both BLOB and VALUES specified");
  if (!wanted.meta && !wanted.blob && !wanted.values) wanted.meta = wanted.blob = true;
  return wanted;
}

void ReplyValues(RedisModuleCtx* context, const Tensor& tensor) {
  size_t count = *ElementCount(tensor.dims());
  redis::ReplyWithArray(context, static_cast<long>(count));
  if (tensor.type() == DataType::kString) {
    for (std::string_view text : StringsOf(tensor)) ReplyText(context, text);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    auto number = NumberAt(tensor, i);
    if (auto* real = std::get_if<double>(&number)) {
      redis::ReplyWithDouble(context, *real);
    } else {
      redis::ReplyWithLongLong(context, std::get<int64_t>(number));
    }
  }
}

int ReplyTensor(RedisModuleCtx* context, const Tensor& tensor, const Wanted& wanted) {
  bool data = wanted.blob || wanted.values;
  if (wanted.meta) {
    redis::ReplyWithArray(context, data ? 6 : 4);
    ReplyText(context, "dtype");
    ReplyText(context, DataTypeName(tensor.type()));
    ReplyText(context, "shape");
    redis::ReplyWithArray(context, static_cast<long>(tensor.dims().size()));
    for (int64_t dim : tensor.dims()) redis::ReplyWithLongLong(context, dim);
    if (data) ReplyText(context, wanted.blob ? "blob" : "values");
  }
  if (wanted.blob) ReplyText(context, tensor.bytes());
  if (wanted.values) ReplyValues(context, tensor);
  return redis::kOk;
}

}  // namespace

int TensorSet(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 3) return redis::WrongArity(context);
  Arguments arguments = Words(argv, argc);
  auto words = ParseTensorSet(arguments);
  if (!words.ok()) return Reply(context, words.status());
  auto tensor = MakeTensor(*words, arguments, argv);
  if (!tensor.ok()) return Reply(context, tensor.status());
  Status status = SetTensor(context, argv[1], *tensor);
  if (status.ok()) redis::ReplicateVerbatim(context);
  return Reply(context, status);
}

int TensorGet(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 2) return redis::WrongArity(context);
  auto wanted = ParseTensorGet(Words(argv, argc));
  if (!wanted.ok()) return Reply(context, wanted.status());
  auto tensor = GetTensor(context, argv[1]);
  if (!tensor.ok()) return Reply(context, tensor.status());
  return ReplyTensor(context, **tensor, *wanted);
}

}  // namespace penstock

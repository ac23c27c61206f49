// AI.TENSORSET and AI.TENSORGET.
#include "tensor_commands.h"

#include "commands.h"
#include "held_string.h"
#include "reply.h"
#include "tensor_type.h"
#include "tensor_values.h"

namespace penstock {
namespace {

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
    } else if (auto* text = std::get_if<std::string>(&number)) {
      ReplyText(context, *text);
    } else {
      redis::ReplyWithLongLong(context, std::get<int64_t>(number));
    }
  }
}

// A held argument is not copied; Redis would have thrown it away.
BufferPtr BufferOf(RedisModuleString* argument, BlobBytes blob) {
  if (blob == BlobBytes::kCopied) return CopyBytes(View(argument));
  return std::make_shared<StringBuffer>(HeldString(argument));
}

}  // namespace

Result<TensorPtr> MakeTensor(const TensorSetWords& words, RedisModuleString** argv, BlobBytes blob) {
  if (words.blob) {
    BufferPtr bytes = BufferOf(argv[*words.blob], blob);
    if (bytes == nullptr) return Status::Error("not enough memory for a tensor of this shape");
    return Tensor::Make(words.type, words.dims, std::move(bytes));
  }
  if (!words.values) return Tensor::Zeros(words.type, words.dims);
  std::vector<std::string_view> elements;
  for (size_t at : words.elements) elements.push_back(View(argv[at]));
  return TensorFromValues(words.type, words.dims, elements);
}

int ReplyTensor(RedisModuleCtx* context, const Tensor& tensor, const TensorForm& wanted) {
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

int TensorSet(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 3) return WrongArity(context, argv[0]);
  auto words = ParseTensorSet(Words(argv, argc));
  if (!words.ok()) return Reply(context, words.status());
  auto tensor = MakeTensor(*words, argv, BlobBytes::kHeld);
  if (!tensor.ok()) return Reply(context, tensor.status());
  Status status = SetTensor(context, argv[1], *tensor);
  if (status.ok()) redis::ReplicateVerbatim(context);
  return Reply(context, status);
}

int TensorGet(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 2) return WrongArity(context, argv[0]);
  auto wanted = ParseTensorGet(Words(argv, argc));
  if (!wanted.ok()) return Reply(context, wanted.status());
  auto tensor = GetTensor(context, argv[1]);
  if (!tensor.ok()) return Reply(context, tensor.status());
  return ReplyTensor(context, **tensor, *wanted);
}

}  // namespace penstock

#include "widening.h"

#include <cstring>
#include <utility>

#include "half.h"

namespace penstock {
namespace {

template <class From, class To, class Convert>
Widened Map(const backend::TensorView& view, DataType type, Convert convert) {
  size_t count = view.size / sizeof(From);
  Widened wide{type, std::string(count * sizeof(To), '\0')};
  for (size_t i = 0; i < count; ++i) {
    From from;
    std::memcpy(&from, static_cast<const char*>(view.data) + i * sizeof from, sizeof from);
    To to = convert(from);
    std::memcpy(wide.bytes.data() + i * sizeof to, &to, sizeof to);
  }
  return wide;
}

}  // namespace

bool IsNewType(DataType type) { return type >= DataType::kFloat16; }

Result<Widened> Widen(const backend::TensorView& view) {
  switch (view.type) {
    case DataType::kFloat16:
      return Map<uint16_t, float>(view, DataType::kFloat, FromHalf);
    case DataType::kBfloat16:
      return Map<uint16_t, float>(view, DataType::kFloat, FromBfloat16);
    case DataType::kUint32:
      return Map<uint32_t, int64_t>(view, DataType::kInt64, [](uint32_t n) { return int64_t{n}; });
    default:
      return Status::Error(std::string("an output is of type ") + DataTypeName(view.type) +
                           ", which is given only to a command that says NATIVE");
  }
}

Result<TensorPtr> Widen(TensorPtr tensor) {
  if (!IsNewType(tensor->type())) return tensor;
  auto* data = const_cast<char*>(tensor->bytes().data());  // only read
  auto wide =
      Widen({tensor->type(), tensor->dims().data(), tensor->dims().size(), data, tensor->bytes().size()});
  if (!wide.ok()) return wide.status();
  BufferPtr bytes = CopyBytes(wide->bytes);
  if (bytes == nullptr) return Status::Error("not enough memory for an output");
  return Tensor::Make(wide->type, tensor->dims(), std::move(bytes));
}

}  // namespace penstock

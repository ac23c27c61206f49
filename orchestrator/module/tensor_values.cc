#include "tensor_values.h"

#include <cstring>
#include <limits>
#include <string>

#include "arguments.h"

namespace penstock {
namespace {

template <class Number>
bool AppendInteger(std::string_view word, std::string* bytes) {
  auto value = ParseInteger(word);
  if (!value || *value < std::numeric_limits<Number>::min() || *value > std::numeric_limits<Number>::max())
    return false;
  Number number = static_cast<Number>(*value);
  bytes->append(reinterpret_cast<const char*>(&number), sizeof number);
  return true;
}

template <class Number>
bool AppendReal(std::string_view word, std::string* bytes) {
  auto value = ParseReal(word);
  if (!value) return false;
  Number number = static_cast<Number>(*value);
  bytes->append(reinterpret_cast<const char*>(&number), sizeof number);
  return true;
}

bool Append(DataType type, std::string_view word, std::string* bytes) {
  switch (type) {
    case DataType::kFloat:
      return AppendReal<float>(word, bytes);
    case DataType::kDouble:
      return AppendReal<double>(word, bytes);
    case DataType::kInt8:
      return AppendInteger<int8_t>(word, bytes);
    case DataType::kInt16:
      return AppendInteger<int16_t>(word, bytes);
    case DataType::kInt32:
      return AppendInteger<int32_t>(word, bytes);
    case DataType::kInt64:
      return AppendInteger<int64_t>(word, bytes);
    case DataType::kUint8:
      return AppendInteger<uint8_t>(word, bytes);
    case DataType::kUint16:
      return AppendInteger<uint16_t>(word, bytes);
    case DataType::kBool:
      return AppendInteger<uint8_t>(word, bytes);
    case DataType::kString:
      bytes->append(word).push_back('\0');
      return true;
  }
  return false;
}

template <class Number>
Number Read(const char* data, size_t index) {
  Number number;
  std::memcpy(&number, data + index * sizeof number, sizeof number);
  return number;
}

}  // namespace

Result<TensorPtr> TensorFromValues(DataType type, std::vector<int64_t> dims,
                                   const std::vector<std::string_view>& values) {
  auto count = ElementCount(dims);
  if (!count) return Status::Error("invalid or negative value found in tensor shape");
  if (*count != values.size()) {
    return Status::Error("wrong number of values was given in 'AI.TENSORSET' command");
  }
  std::string bytes;
  for (std::string_view word : values) {
    bool text = type == DataType::kString;
    if (text && word.find('\0') != std::string_view::npos) {
      return Status::Error("C-string value contains null character");
    }
    if (!Append(type, word, &bytes)) return Status::Error("invalid value");
  }
  BufferPtr buffer = CopyBytes(bytes);
  if (buffer == nullptr) return Status::Error("not enough memory for a tensor of this shape");
  return Tensor::Make(type, std::move(dims), std::move(buffer));
}

std::variant<int64_t, double> NumberAt(const Tensor& tensor, size_t index) {
  const char* data = tensor.bytes().data();
  switch (tensor.type()) {
    case DataType::kFloat:
      return static_cast<double>(Read<float>(data, index));
    case DataType::kDouble:
      return Read<double>(data, index);
    case DataType::kInt8:
      return int64_t{Read<int8_t>(data, index)};
    case DataType::kInt16:
      return int64_t{Read<int16_t>(data, index)};
    case DataType::kInt32:
      return int64_t{Read<int32_t>(data, index)};
    case DataType::kInt64:
      return Read<int64_t>(data, index);
    case DataType::kUint16:
      return int64_t{Read<uint16_t>(data, index)};
    default:
      return int64_t{Read<uint8_t>(data, index)};
  }
}

std::vector<std::string_view> StringsOf(const Tensor& tensor) {
  std::vector<std::string_view> strings;
  for (size_t start : tensor.StringOffsets()) {
    std::string_view rest = tensor.bytes().substr(start);
    strings.push_back(rest.substr(0, rest.find('\0')));
  }
  return strings;
}

}  // namespace penstock

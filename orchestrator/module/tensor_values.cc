#include "tensor_values.h"

#include <charconv>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>

#include "arguments.h"
#include "half.h"

namespace penstock {
namespace {

template <class Number>
bool Put(Number number, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&number), sizeof number);
  return true;
}

template <class Number>
bool AppendInteger(std::string_view word, std::string* bytes) {
  auto value = ParseInteger(word);
  if (!value || *value < std::numeric_limits<Number>::min() || *value > std::numeric_limits<Number>::max())
    return false;
  return Put(static_cast<Number>(*value), bytes);
}

bool AppendUint64(std::string_view word, std::string* bytes) {
  auto value = ParseUnsigned(word);
  return value && Put(*value, bytes);
}

template <class Convert>
bool AppendReal(std::string_view word, std::string* bytes, Convert convert) {
  auto value = ParseReal(word);
  return value && Put(convert(*value), bytes);
}

template <class Real>
bool AppendComplex(std::string_view word, std::string* bytes) {
  auto value = ParseComplex(word);
  if (!value) return false;
  Put(static_cast<Real>(value->real()), bytes);
  return Put(static_cast<Real>(value->imag()), bytes);
}

template <class Real>
Real As(double value) {
  return static_cast<Real>(value);
}

bool Append(DataType type, std::string_view word, std::string* bytes) {
  switch (type) {
    case DataType::kFloat:
      return AppendReal(word, bytes, As<float>);
    case DataType::kDouble:
      return AppendReal(word, bytes, As<double>);
    case DataType::kFloat16:
      return AppendReal(word, bytes, ToHalf);
    case DataType::kBfloat16:
      return AppendReal(word, bytes, ToBfloat16);
    case DataType::kInt8:
      return AppendInteger<int8_t>(word, bytes);
    case DataType::kInt16:
      return AppendInteger<int16_t>(word, bytes);
    case DataType::kInt32:
      return AppendInteger<int32_t>(word, bytes);
    case DataType::kInt64:
      return AppendInteger<int64_t>(word, bytes);
    case DataType::kUint8:
    case DataType::kBool:
      return AppendInteger<uint8_t>(word, bytes);
    case DataType::kUint16:
      return AppendInteger<uint16_t>(word, bytes);
    case DataType::kUint32:
      return AppendInteger<uint32_t>(word, bytes);
    case DataType::kUint64:
      return AppendUint64(word, bytes);
    case DataType::kComplex64:
      return AppendComplex<float>(word, bytes);
    case DataType::kComplex128:
      return AppendComplex<double>(word, bytes);
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

// The shortest text that is read back as the same number.
template <class Real>
std::string Text(Real value) {
  char text[32];
  auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end);
}

template <class Real>
std::string ComplexText(const char* data, size_t index) {
  Real real = Read<Real>(data, 2 * index);
  Real imaginary = Read<Real>(data, 2 * index + 1);
  return Text(real) + (std::signbit(imaginary) ? "" : "+") + Text(imaginary) + "j";
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

std::variant<int64_t, double, std::string> NumberAt(const Tensor& tensor, size_t index) {
  const char* data = tensor.bytes().data();
  switch (tensor.type()) {
    case DataType::kFloat:
      return static_cast<double>(Read<float>(data, index));
    case DataType::kDouble:
      return Read<double>(data, index);
    case DataType::kFloat16:
      return static_cast<double>(FromHalf(Read<uint16_t>(data, index)));
    case DataType::kBfloat16:
      return static_cast<double>(FromBfloat16(Read<uint16_t>(data, index)));
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
    case DataType::kUint32:
      return int64_t{Read<uint32_t>(data, index)};
    case DataType::kUint64:
      return std::to_string(Read<uint64_t>(data, index));
    case DataType::kComplex64:
      return ComplexText<float>(data, index);
    case DataType::kComplex128:
      return ComplexText<double>(data, index);
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

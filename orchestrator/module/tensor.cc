#include "tensor.h"

#include <unistd.h>

#include <algorithm>

#include "arguments.h"

namespace penstock {
namespace {

struct TypeInfo {
  const char* name;
  size_t size;
};

// In the order of DataType.
constexpr TypeInfo kTypes[] = {{"FLOAT", 4},  {"DOUBLE", 8}, {"INT8", 1},      {"INT16", 2},
                               {"INT32", 4},  {"INT64", 8},  {"UINT8", 1},     {"UINT16", 2},
                               {"BOOL", 1},   {"STRING", 1}, {"FLOAT16", 2},   {"BFLOAT16", 2},
                               {"UINT32", 4}, {"UINT64", 8}, {"COMPLEX64", 8}, {"COMPLEX128", 16}};

// COMPLEX128.
constexpr size_t kLargestElement = 16;

Status CheckBools(std::string_view bytes) {
  bool good = std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0 || c == 1; });
  return good ? Status::Ok() : Status::Error("BOOL tensor elements must be 0 or 1");
}

Status CheckStrings(std::string_view bytes, size_t count) {
  size_t ends = static_cast<size_t>(std::count(bytes.begin(), bytes.end(), '\0'));
  bool good = ends == count && (bytes.empty() || bytes.back() == '\0');
  return good ? Status::Ok()
              : Status::Error("Number of string elements in data blob does not match tensor length");
}

Status CheckBytes(DataType type, size_t count, std::string_view bytes) {
  if (type == DataType::kString) return CheckStrings(bytes, count);
  if (count > SIZE_MAX / kLargestElement || bytes.size() != count * ElementSize(type)) {
    return Status::Error("data length does not match tensor shape and type");
  }
  return type == DataType::kBool ? CheckBools(bytes) : Status::Ok();
}

size_t PhysicalMemory() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

std::optional<DataType> ParseDataType(std::string_view name) {
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    if (EqualsAnyCase(name, kTypes[i].name)) return static_cast<DataType>(i);
  }
  return std::nullopt;
}

const char* DataTypeName(DataType type) { return kTypes[static_cast<size_t>(type)].name; }

size_t ElementSize(DataType type) { return kTypes[static_cast<size_t>(type)].size; }

std::optional<size_t> ElementCount(const std::vector<int64_t>& dims) {
  size_t count = 1;
  for (int64_t dim : dims) {
    if (dim < 0 || __builtin_mul_overflow(count, static_cast<size_t>(dim), &count)) return std::nullopt;
  }
  return count;
}

Tensor::Tensor(DataType type, std::vector<int64_t> dims, BufferPtr bytes)
    : type_(type), dims_(std::move(dims)), bytes_(std::move(bytes)) {}

Result<TensorPtr> Tensor::Make(DataType type, std::vector<int64_t> dims, BufferPtr bytes) {
  auto count = ElementCount(dims);
  if (!count) return Status::Error("invalid or negative value found in tensor shape");
  Status status = CheckBytes(type, *count, bytes->view());
  if (!status.ok()) return status;
  return TensorPtr(new Tensor(type, std::move(dims), std::move(bytes)));
}

Result<TensorPtr> Tensor::Zeros(DataType type, std::vector<int64_t> dims) {
  auto count = ElementCount(dims);
  if (!count) return Status::Error("invalid or negative value found in tensor shape");
  bool fits = *count <= PhysicalMemory() / ElementSize(type);
  BufferPtr bytes = fits ? ZeroBytes(*count * ElementSize(type)) : nullptr;
  if (bytes == nullptr) return Status::Error("not enough memory for a tensor of this shape");
  return TensorPtr(new Tensor(type, std::move(dims), std::move(bytes)));
}

std::vector<size_t> Tensor::StringOffsets() const {
  std::vector<size_t> offsets;
  size_t start = 0;
  while (start < bytes().size()) {
    offsets.push_back(start);
    start = bytes().find('\0', start) + 1;
  }
  return offsets;
}

size_t Tensor::MemoryBytes() const {
  return sizeof(*this) + dims_.capacity() * sizeof(int64_t) + bytes().size();
}

}  // namespace penstock

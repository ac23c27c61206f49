// A tensor: type, shape and row-major bytes. Immutable once made, shared by keys and runs without locks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "backend.h"
#include "memory.h"
#include "status.h"

namespace penstock {

/// RedisAI's FLOAT, DOUBLE, INT8 … STRING, and ours from FLOAT16 to COMPLEX128; in any case.
std::optional<DataType> ParseDataType(std::string_view name);
const char* DataTypeName(DataType type);
/// Bytes of one element; 1 for strings, whose elements differ.
size_t ElementSize(DataType type);

/// Number of elements of a shape; none when a dimension is negative or the product does not fit.
std::optional<size_t> ElementCount(const std::vector<int64_t>& dims);

class Tensor {
 public:
  /// Checks that the bytes fit type and shape. A STRING tensor's elements each end in a NUL byte.
  static Result<std::shared_ptr<const Tensor>> Make(DataType type, std::vector<int64_t> dims,
                                                    BufferPtr bytes);
  static Result<std::shared_ptr<const Tensor>> Zeros(DataType type, std::vector<int64_t> dims);

  DataType type() const { return type_; }
  const std::vector<int64_t>& dims() const { return dims_; }
  std::string_view bytes() const { return bytes_->view(); }
  const Buffer& buffer() const { return *bytes_; }
  /// Size of the first dimension, 1 for a scalar.
  int64_t BatchSize() const { return dims_.empty() ? 1 : dims_[0]; }
  /// Start of each element of a STRING tensor.
  std::vector<size_t> StringOffsets() const;
  size_t MemoryBytes() const;

 private:
  Tensor(DataType type, std::vector<int64_t> dims, BufferPtr bytes);
  DataType type_;
  std::vector<int64_t> dims_;
  BufferPtr bytes_;
};

using TensorPtr = std::shared_ptr<const Tensor>;

}  // namespace penstock

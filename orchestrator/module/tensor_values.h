// Tensors written as words, and read back as numbers: VALUES of AI.TENSORSET and AI.TENSORGET.
#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "tensor.h"

namespace penstock {

Result<TensorPtr> TensorFromValues(DataType type, std::vector<int64_t> dims,
                                   const std::vector<std::string_view>& values);

/// Element `index` of a tensor of numbers.
std::variant<int64_t, double> NumberAt(const Tensor& tensor, size_t index);
/// The elements of a STRING tensor, without their NUL bytes.
std::vector<std::string_view> StringsOf(const Tensor& tensor);

}  // namespace penstock

// Tensors written as words, and read back: VALUES of AI.TENSORSET and AI.TENSORGET.
//
// DESIGN
//   What a client reads back depends on the dtype alone, never on the values: reals as doubles, integers as
//   integers, but UINT64 as text, because half of its range is beyond RESP's integers. Complex numbers are
//   text as Python writes them, `1+2j`, which is also how they are given; a part may be left out.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor.h"

namespace penstock {

Result<TensorPtr> TensorFromValues(DataType type, std::vector<int64_t> dims,
                                   const std::vector<std::string_view>& values);

/// Element `index` of a tensor of numbers: text for UINT64 and complex ones.
std::variant<int64_t, double, std::string> NumberAt(const Tensor& tensor, size_t index);
/// The elements of a STRING tensor, without their NUL bytes.
std::vector<std::string_view> StringsOf(const Tensor& tensor);

}  // namespace penstock

// The words of AI.TENSORSET and AI.TENSORGET, also where they are steps of a DAG.
#pragma once

#include <optional>
#include <vector>

#include "arguments.h"
#include "tensor.h"

namespace penstock {

/// Positions are among the words that were parsed.
struct TensorSetWords {
  DataType type = DataType::kFloat;
  std::vector<int64_t> dims;
  std::optional<size_t> blob;  // position of the bytes
  bool values = false;
  std::vector<size_t> elements;  // positions of the VALUES
};
Result<TensorSetWords> ParseTensorSet(Arguments words);

struct TensorForm {
  bool meta = false;
  bool blob = false;
  bool values = false;
};
Result<TensorForm> ParseTensorGet(Arguments words);

}  // namespace penstock

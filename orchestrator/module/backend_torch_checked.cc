#include "backend_torch_checked.h"

#include <torch/torch.h>

#include "backend_torch_operators.h"

namespace penstock {
namespace {

using torch::jit::Operator;
using torch::jit::Stack;

// Of a type that is no whole number torch says what is wrong itself.
bool HasNumbers(const at::Tensor& array) {
  return at::isIntegralType(array.scalar_type(), false) && array.numel() > 0;
}

void CheckWithin(const at::Tensor& numbers, int64_t least, int64_t most, const char* what) {
  if (!HasNumbers(numbers)) return;
  TORCH_CHECK(numbers.min().item<int64_t>() >= least && numbers.max().item<int64_t>() <= most, what,
              " must be from ", least, " to ", most);
}

// Where each part begins, along the last dimension.
void CheckOffsets(const at::Tensor& offsets, int64_t length) {
  CheckWithin(offsets, 0, length, "offsets");
  bool several = HasNumbers(offsets) && offsets.dim() > 0 && offsets.size(-1) > 1;
  TORCH_CHECK(!several || offsets.diff().min().item<int64_t>() >= 0, "offsets must not decrease");
}

void CheckBags(Arguments arguments) {
  CheckOffsets(arguments[2].toTensor(), arguments[1].toTensor().numel());
}

// Data, how, lengths, indices, offsets, dimension, unsafe.
void CheckSegments(Arguments arguments) {
  TORCH_CHECK(!arguments[6].toBool(), "segment_reduce: unsafe=True is refused");
  const at::Tensor data = arguments[0].toTensor();
  int64_t dimension = arguments[5].toInt();
  if (!arguments[4].isTensor() || dimension < 0 || dimension >= data.dim()) return;
  CheckOffsets(arguments[4].toTensor(), data.size(dimension));
}

void CheckTargets(Arguments arguments) {
  const at::Tensor& probabilities = arguments[0].toTensor();
  if (probabilities.dim() > 0)
    CheckWithin(arguments[1].toTensor(), 0, probabilities.size(-1) - 1, "the targets of ctc_loss");
}

struct Checked {
  const char* name;
  void (*check)(Arguments arguments);
};

constexpr Checked kChecked[] = {
    {"aten::embedding_bag", CheckBags},
    {"aten::_embedding_bag", CheckBags},
    {"aten::_embedding_bag_forward_only", CheckBags},
    {"aten::segment_reduce", CheckSegments},
    {"aten::ctc_loss", CheckTargets},
    {"aten::_ctc_loss", CheckTargets},
};

constexpr const char* kIndices[] = {"aten::_indices",    "aten::indices",      "aten::crow_indices",
                                    "aten::col_indices", "aten::ccol_indices", "aten::row_indices"};

bool Any(const c10::FunctionSchema&) { return true; }

}  // namespace

void CheckOperators() {
  for (const Checked& checked : kChecked) LookBefore(checked.name, Any, checked.check);
  for (const char* name : kIndices) {
    ReplaceOperators(name, Any, [](const Operator& original) {
      return [operation = original.getOperation()](Stack& stack) mutable {
        operation(stack);
        torch::jit::push(stack, torch::jit::pop(stack).toTensor().clone());
      };
    });
  }
}

}  // namespace penstock

// Puts operators of ours in the place of torch's: code then finds ours by whatever name it calls them.
#pragma once

#include <torch/csrc/jit/runtime/operator.h>

#include <functional>

namespace penstock {

using MakeOperation = std::function<torch::jit::Operation(const torch::jit::Operator& original)>;

/// Replaces each overload of `name` (aten::add) that `chosen` accepts, for the whole process. Before any code
/// is read: what has been compiled keeps the operators it found. The replaced ones are from now on looked at
/// last, so where several overloads accept the same arguments, all of these must be chosen.
void ReplaceOperators(const char* name, const std::function<bool(const c10::FunctionSchema&)>& chosen,
                      const MakeOperation& make);

using Arguments = c10::ArrayRef<c10::IValue>;

/// The same, with torch's operation after a look at its arguments; `look` throws to refuse.
void LookBefore(const char* name, const std::function<bool(const c10::FunctionSchema&)>& chosen,
                const std::function<void(Arguments)>& look);

}  // namespace penstock

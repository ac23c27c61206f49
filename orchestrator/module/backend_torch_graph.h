// What can be said of a TorchScript model without running it.
#pragma once

#include <torch/script.h>

#include <functional>

namespace penstock {

/// Calls `visit` with each node of each function, and of what is forked in them; it may put nodes beside it.
void EachNode(const torch::jit::CompilationUnit& unit, const std::function<void(torch::jit::Node*)>& visit);

/// Whether forward() has neither a loop nor a choice that depends on more than the shapes of its inputs, and
/// takes no number out of a tensor. A branch that only raises is none. False when that cannot be seen.
bool IsStraightLine(const torch::jit::Method& forward);

/// Whether forward() has a convolution. False when there is no such method.
bool Convolves(const torch::jit::Module& module);

/// Bytes of the arrays that forward() has as constants: a frozen model's weights, packed ones not.
uint64_t ConstantBytes(const torch::jit::Method& forward);

/// Whether forward() may change an input in place. True when that cannot be seen.
bool WritesInputs(const torch::jit::Method& forward);

}  // namespace penstock

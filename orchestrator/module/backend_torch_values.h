// What models and scripts share: tensors, texts and errors on their way between the core and torch.
//
// DESIGN
//   Only files named backend_torch* include torch. Every entry from the core is noexcept: what torch throws
//   becomes one Error of one line, by Guard. The core owns the input memory and gives each run a private,
//   aligned copy, so Wrap() copies nothing. `at::set_num_threads` counts per thread, so each worker sets it,
//   by PrepareThread, when it comes here first.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

#include "backend.h"

namespace penstock {

std::string ToString(backend::Bytes bytes);
backend::Bytes ToBytes(const std::string& text);

/// Tells `out` of the exception that is being handled.
void TellError(backend::Sink& out) noexcept;
/// Runs `work`; whatever it throws ends up in `out`.
template <class Work>
bool Guard(backend::Sink& out, Work work) noexcept {
  try {
    work();
    return true;
  } catch (...) {
    TellError(out);
    return false;
  }
}

DataType FromTorch(at::ScalarType type);
/// A tensor on `device`; on the CPU one that shares the view's memory.
at::Tensor Wrap(const backend::TensorView& view, const at::Device& device);
/// Emits the tensors in `result`, which must be `expected` many.
void EmitAll(const c10::IValue& result, size_t expected, backend::Sink& out);

bool IsListOf(const c10::Argument& argument, c10::TypeKind kind);
/// The values of a function's arguments, from the one at `first` on, which is 1 for a method. Tensor
/// arguments take inputs by position, List[Tensor] the rest; List[str] takes keys, then texts.
std::vector<c10::IValue> Bind(const c10::FunctionSchema& schema, size_t first, const backend::Call& call,
                              const at::Device& device);

/// Before any thread comes here.
void SetThreads(const backend::Threads& wanted);
void PrepareThread();
at::Device ToDevice(backend::Bytes name);

}  // namespace penstock

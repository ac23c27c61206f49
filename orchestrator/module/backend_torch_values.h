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

#include "backend_bytes.h"

namespace penstock {

// A text that clients of RedisAI know.
inline constexpr char kWrongInputs[] = "Number of keys given as INPUTS here does not match model definition";

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
/// A tensor on `device`; on the CPU one that shares the view's memory. A resident is shared too, or copied
/// when it is going to be written to: other steps may read it.
at::Tensor Wrap(const backend::TensorView& view, const at::Device& device, bool written);
/// The same values in plain memory of the CPU, for the core; what torch puts off (conj(), negation) is done.
/// Throws where there is no such form.
at::Tensor Plain(const at::Tensor& tensor);
/// Emits the tensors in `result`, as many as the call wants.
void EmitAll(const c10::IValue& result, const backend::Call& call, backend::Sink& out);

bool IsListOf(const c10::Argument& argument, c10::TypeKind kind);
/// The values of a function's arguments, from the one at `first` on, which is 1 for a method. Tensor
/// arguments take inputs by position, List[Tensor] the rest; List[str] takes keys, then texts. `written`:
/// inputs may be changed in place.
std::vector<c10::IValue> Bind(const c10::FunctionSchema& schema, size_t first, const backend::Call& call,
                              const at::Device& device, bool written);

/// Before any thread comes here.
void ApplySettings(const backend::Settings& wanted);
void PrepareThread();
at::Device ToDevice(backend::Bytes name);

}  // namespace penstock

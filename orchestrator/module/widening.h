// Outputs for clients that know RedisAI's dtypes only.
//
// DESIGN
//   A model may put out what RedisAI has no name for. A client that does not know these names must not meet
//   them, so what a run stores or replies is widened to a dtype that holds each value exactly, unless the
//   run's words say NATIVE. Where there is no such dtype, the run ends with an error that says so.
#pragma once

#include <string>

#include "backend.h"
#include "status.h"
#include "tensor.h"

namespace penstock {

/// FLOAT16, BFLOAT16, UINT32, UINT64, COMPLEX64, COMPLEX128.
bool IsNewType(DataType type);

struct Widened {
  DataType type;
  std::string bytes;
};
/// A dense array of a new type as FLOAT or INT64.
Result<Widened> Widen(const backend::TensorView& view);
/// The same tensor when its type is an old one.
Result<TensorPtr> Widen(TensorPtr tensor);

}  // namespace penstock

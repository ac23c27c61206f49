// What a backend says when it cannot open or load something.
#pragma once

#include <string>

#include "backend.h"

namespace penstock {

struct ErrorSink final : backend::Sink {
  void Tensor(const backend::TensorView&) override {}
  void Keep(const backend::TensorView&, backend::Resident* array) override { delete array; }
  void Name(backend::Bytes) override {}
  void Error(backend::Bytes text) override { error.assign(text.data, text.size); }
  std::string error;
};

}  // namespace penstock

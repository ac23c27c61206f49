// Tensors on their way into a program and out of it. Worker threads.
#pragma once

#include <string>
#include <vector>

#include "backend.h"
#include "memory.h"
#include "tensor.h"

namespace penstock {

/// Private, aligned copies of a run's inputs.
class RunInputs {
 public:
  Status Add(const Tensor& tensor);
  const std::vector<backend::TensorView>& views() const { return views_; }

 private:
  std::vector<AlignedBytes> copies_;
  std::vector<backend::TensorView> views_;
};

/// Keeps what a program puts out, as tensors in the server's memory.
class RunOutputs final : public backend::Sink {
 public:
  void Tensor(const backend::TensorView& view) override;
  void Name(backend::Bytes) override {}
  void Error(backend::Bytes text) override { status_ = Status::Error(std::string(text.data, text.size)); }
  const Status& status() const { return status_; }
  std::vector<TensorPtr>& tensors() { return tensors_; }

 private:
  std::vector<TensorPtr> tensors_;
  Status status_ = Status::Ok();
};

}  // namespace penstock

// Arrays that stay with torch between the steps of a DAG.
#pragma once

#include <ATen/ATen.h>

#include "backend.h"

namespace penstock {

class TorchResident : public backend::Resident {
 public:
  explicit TorchResident(at::Tensor array) : array_(std::move(array)) {}
  void ToHost(backend::Sink& out) const noexcept override;
  const at::Tensor& array() const { return array_; }

 private:
  at::Tensor array_;
};

}  // namespace penstock

#include "run.h"

#include "run_tensors.h"

namespace penstock {

KeptArray::KeptArray(const backend::TensorView& shape, std::unique_ptr<backend::Resident> array,
                     BackendKind maker, std::string device, bool native)
    : type_(shape.type),
      dims_(shape.dims, shape.dims + shape.rank),
      bytes_(shape.size),
      array_(std::move(array)),
      maker_(maker),
      device_(std::move(device)),
      native_(native) {}

bool KeptArray::FitsInto(const Executable& executable) const {
  return maker_ == executable.backend() && device_ == executable.device();
}

backend::TensorView KeptArray::view() const {
  return {type_, dims_.data(), dims_.size(), nullptr, bytes_, array_.get()};
}

Result<TensorPtr> KeptArray::ToHost() const {
  HostCopy copy(native_);
  array_->ToHost(copy);
  return copy.Take();
}

Result<TensorPtr> RunArray::ToHost() const {
  if (kept != nullptr) return kept->ToHost();
  return tensor;
}

}  // namespace penstock

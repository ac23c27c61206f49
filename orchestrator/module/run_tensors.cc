#include "run_tensors.h"

#include "held_string.h"

namespace penstock {

Status RunInputs::Add(const Tensor& tensor) {
  AlignedBytes copy = AlignedCopy(tensor.bytes());
  if (copy == nullptr) return Status::Error("not enough memory to run on this tensor");
  views_.push_back(
      {tensor.type(), tensor.dims().data(), tensor.dims().size(), copy.get(), tensor.bytes().size()});
  copies_.push_back(std::move(copy));
  return Status::Ok();
}

void RunOutputs::Tensor(const backend::TensorView& view) {
  std::string_view bytes(static_cast<const char*>(view.data), view.size);
  std::vector<int64_t> dims(view.dims, view.dims + view.rank);
  auto made = penstock::Tensor::Make(view.type, std::move(dims),
                                     std::make_shared<StringBuffer>(HeldString::Copy(bytes)));
  if (made.ok()) tensors_.push_back(*made);
  if (!made.ok()) status_ = made.status();
}

}  // namespace penstock

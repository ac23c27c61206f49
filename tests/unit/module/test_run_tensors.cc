#include "run_tensors.h"
#include "runs.h"

using namespace penstock;
using namespace penstock::test;

namespace {

class Reader final : public backend::Program {
 public:
  explicit Reader(bool writes) : writes_(writes) {}
  void Run(const backend::Call&, backend::Sink&) noexcept override {}
  void Inputs(backend::Sink&) const noexcept override {}
  void Outputs(backend::Sink&) const noexcept override {}
  bool WritesInputs() const noexcept override { return writes_; }
  bool StraightLine() const noexcept override { return true; }
  uint64_t MemoryBytes() const noexcept override { return 0; }

 private:
  bool writes_;
};

// Bytes that stay, `offset` after a multiple of the alignment.
class Fixed final : public Buffer {
 public:
  explicit Fixed(size_t offset) : offset_(offset), memory_(AlignedSpace(offset + 8)) {
    std::memset(memory_.get(), 1, offset + 8);
  }
  std::string_view view() const override { return {static_cast<const char*>(memory_.get()) + offset_, 8}; }
  bool stays() const override { return true; }

 private:
  size_t offset_;
  AlignedBytes memory_;
};

// Whether the view that a program gets of this tensor is the tensor itself.
bool IsLent(const TensorPtr& tensor, bool writes, size_t member_count = 1) {
  Executable executable("CPU", "",
                        [writes]() -> Result<ProgramPtr> { return ProgramPtr(new Reader(writes)); });
  CHECK(executable.Settle().ok());
  std::vector<RunArray> inputs{{tensor, nullptr}};
  RunInputs filled;
  CHECK(filled.Fill(executable, std::vector<const std::vector<RunArray>*>(member_count, &inputs)).ok());
  const backend::TensorView& view = filled.views()[0];
  CHECK_EQUAL(view.size, member_count * tensor->bytes().size());
  CHECK_EQUAL(reinterpret_cast<uintptr_t>(view.data) % backend::kAlignment, 0u);
  CHECK(std::memcmp(view.data, tensor->bytes().data(), tensor->bytes().size()) == 0);
  return view.data == tensor->bytes().data();
}

TensorPtr TwoFloats(BufferPtr bytes) { return *Tensor::Make(DataType::kFloat, {2}, std::move(bytes)); }

void WhatStaysIsLentToWhoOnlyReads() {
  TensorPtr fixed = TwoFloats(std::make_shared<Fixed>(0));
  CHECK(IsLent(fixed, false));
  CHECK(!IsLent(fixed, true));
  CHECK(!IsLent(fixed, false, 2));
}

void WhatMayMoveOrLiesAmissIsCopied() {
  CHECK(!IsLent(TwoFloats(std::make_shared<Fixed>(4)), false));
  CHECK(!IsLent(TwoFloats(CopyBytes("12345678")), false));
}

}  // namespace

int main() {
  WhatStaysIsLentToWhoOnlyReads();
  WhatMayMoveOrLiesAmissIsCopied();
  return penstock::test::Report();
}

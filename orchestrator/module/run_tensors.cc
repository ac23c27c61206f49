#include "run_tensors.h"

#include <cstring>
#include <numeric>
#include <string>

#include "widening.h"

namespace penstock {
namespace {

constexpr char kNoMemory[] = "not enough memory to run on this tensor";
constexpr char kWrongRows[] = "Model did not generate the expected batch size";  // clients of RedisAI know it

BufferPtr (*make_buffer)(std::string_view bytes) = CopyBytes;

// `count` bytes of the view from `start` on, as a tensor.
Result<TensorPtr> Part(const backend::TensorView& view, std::vector<int64_t> dims, size_t start,
                       size_t count) {
  BufferPtr bytes = make_buffer({static_cast<const char*>(view.data) + start, count});
  if (bytes == nullptr) return Status::Error("not enough memory for an output");
  return Tensor::Make(view.type, std::move(dims), std::move(bytes));
}

Result<TensorPtr> Whole(const backend::TensorView& view) {
  return Part(view, std::vector<int64_t>(view.dims, view.dims + view.rank), 0, view.size);
}

// Calls `then` with the view in a type that old clients know.
template <class Then>
Status InKnownType(const backend::TensorView& view, bool native, Then then) {
  if (native || !IsNewType(view.type)) return then(view);
  auto wide = Widen(view);
  if (!wide.ok()) return wide.status();
  return then({wide->type, view.dims, view.rank, wide->bytes.data(), wide->bytes.size()});
}

bool StaysAligned(const Buffer& buffer) {
  return buffer.stays() && reinterpret_cast<uintptr_t>(buffer.view().data()) % backend::kAlignment == 0;
}

bool MayLend(const Executable& executable) {
  ProgramPtr program = executable.program();
  return program != nullptr && !program->WritesInputs();
}

}  // namespace

void InstallOutputBuffers(BufferPtr (*make)(std::string_view bytes)) { make_buffer = make; }

void RunInputs::Lend(const TensorPtr& stored) {
  std::string_view bytes = stored->bytes();
  dims_.push_back(stored->dims());
  views_.push_back({stored->type(), dims_.back().data(), dims_.back().size(), const_cast<char*>(bytes.data()),
                    bytes.size()});
  lent_.push_back(stored);
}

Status RunInputs::Add(const std::vector<TensorPtr>& parts) {
  size_t bytes = 0;
  for (const TensorPtr& part : parts) bytes += part->bytes().size();
  AlignedBytes copy = AlignedSpace(bytes);
  if (copy == nullptr) return Status::Error(kNoMemory);
  auto* to = static_cast<char*>(copy.get());
  for (const TensorPtr& part : parts) {
    std::string_view from = part->bytes();
    if (!from.empty()) std::memcpy(to, from.data(), from.size());
    to += from.size();
  }
  dims_.push_back(parts[0]->dims());
  for (size_t i = 1; i < parts.size(); ++i) dims_.back()[0] += parts[i]->dims()[0];
  views_.push_back({parts[0]->type(), dims_.back().data(), dims_.back().size(), copy.get(), bytes});
  copies_.push_back(std::move(copy));
  return Status::Ok();
}

Status RunInputs::Fill(const Executable& executable,
                       const std::vector<const std::vector<RunArray>*>& members) {
  bool may_lend = members.size() == 1 && MayLend(executable);
  for (size_t i = 0; i < members[0]->size(); ++i) {
    const RunArray& first = (*members[0])[i];
    if (first.kept != nullptr && first.kept->FitsInto(executable)) {
      views_.push_back(first.kept->view());
      continue;
    }
    std::vector<TensorPtr> parts;
    for (const auto* inputs : members) {
      auto part = (*inputs)[i].ToHost();
      if (!part.ok()) return part.status();
      parts.push_back(*part);
    }
    if (may_lend && StaysAligned(parts[0]->buffer())) {
      Lend(parts[0]);
      continue;
    }
    Status status = Add(parts);
    if (!status.ok()) return status;
  }
  return Status::Ok();
}

void HostCopy::Tensor(const backend::TensorView& view) {
  Status status = InKnownType(view, native_, [this](const backend::TensorView& known) {
    result_ = Whole(known);
    return Status::Ok();
  });
  if (!status.ok()) result_ = status;
}

void HostCopy::Keep(const backend::TensorView&, backend::Resident* array) {
  std::unique_ptr<backend::Resident> owned(array);
  owned->ToHost(*this);
}

void HostCopy::Error(backend::Bytes text) { result_ = Status::Error(std::string(text.data, text.size)); }

RunOutputs::RunOutputs(const Executable& executable, bool native, std::vector<int64_t> rows)
    : executable_(executable), native_(native), rows_(std::move(rows)), members_(rows_.size()) {
  all_rows_ = std::accumulate(rows_.begin(), rows_.end(), int64_t{0});
}

bool RunOutputs::HasAllRows(const backend::TensorView& view) {
  bool batched = executable_.batching().size > 1;
  if (!batched) return true;
  bool fits = view.rank > 0 && view.dims[0] == all_rows_;
  if (!fits) status_ = Status::Error(kWrongRows);
  wrong_rows_ = wrong_rows_ || !fits;
  return fits;
}

Status RunOutputs::Cut(const backend::TensorView& view) {
  size_t row = all_rows_ == 0 ? 0 : view.size / static_cast<size_t>(all_rows_);
  size_t start = 0;
  for (size_t i = 0; i < rows_.size(); ++i) {
    std::vector<int64_t> dims(view.dims, view.dims + view.rank);
    dims[0] = rows_[i];
    size_t count = row * static_cast<size_t>(rows_[i]);
    auto part = Part(view, std::move(dims), start, count);
    if (!part.ok()) return part.status();
    members_[i].push_back({*part, nullptr});
    start += count;
  }
  return Status::Ok();
}

Status RunOutputs::Add(const backend::TensorView& view) {
  if (rows_.size() > 1) return Cut(view);
  auto whole = Whole(view);
  if (whole.ok()) members_[0].push_back({*whole, nullptr});
  return whole.status();
}

void RunOutputs::Tensor(const backend::TensorView& view) {
  if (!HasAllRows(view)) return;
  Status status = InKnownType(view, native_, [this](const backend::TensorView& known) { return Add(known); });
  if (!status.ok()) status_ = status;
}

void RunOutputs::Keep(const backend::TensorView& shape, backend::Resident* array) {
  std::unique_ptr<backend::Resident> owned(array);
  if (!HasAllRows(shape)) return;
  auto kept = std::make_shared<KeptArray>(shape, std::move(owned), executable_.backend(),
                                          executable_.device(), native_);
  members_[0].push_back({nullptr, std::move(kept)});
}

void RunOutputs::Error(backend::Bytes text) { status_ = Status::Error(std::string(text.data, text.size)); }

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

// Tensors on their way into a program and out of it. Workers, and the main thread where a run is tiny.
//
// DESIGN
//   What goes in is copied to aligned memory, because held arguments start anywhere and a model may write to
//   what it is given; the copies of a batch's members lie one after another along the first dimension, so
//   that batching costs no copy of its own. A tensor in shared memory, which stays where it is, is
//   itself given to a program that surely writes to nothing and runs for one member: the run holds it. What
//   comes out becomes tensors in the server's memory, cut into the members' parts.
#pragma once

#include <string_view>
#include <vector>

#include "backend.h"
#include "memory.h"
#include "run.h"
#include "tensor.h"

namespace penstock {

/// How outputs are kept: the module installs Redis strings, which are replicated without another copy.
/// Returns null when there is not enough memory. Set once, at load.
void InstallOutputBuffers(BufferPtr (*make)(std::string_view bytes));

/// The inputs of one run, or of the members of a batch: aligned, and private where the program may write.
class RunInputs {
 public:
  /// The members' inputs fit together (batch.h) and outlive this. Kept arrays stay where they are when
  /// `executable` takes them. It is loaded.
  Status Fill(const Executable& executable, const std::vector<const std::vector<RunArray>*>& members);
  const std::vector<backend::TensorView>& views() const { return views_; }

 private:
  void Lend(const TensorPtr& stored);
  Status Add(const std::vector<TensorPtr>& parts);

  std::vector<AlignedBytes> copies_;
  std::vector<TensorPtr> lent_;
  std::vector<std::vector<int64_t>> dims_;
  std::vector<backend::TensorView> views_;
};

/// One array copied out of a backend, widened unless `native`.
class HostCopy final : public backend::Sink {
 public:
  explicit HostCopy(bool native) : native_(native) {}
  void Tensor(const backend::TensorView& view) override;
  void Keep(const backend::TensorView&, backend::Resident* array) override;
  void Name(backend::Bytes) override {}
  void Error(backend::Bytes text) override;
  Result<TensorPtr> Take() const { return result_; }

 private:
  bool native_;
  Result<TensorPtr> result_ = Status::Error("the backend gave no array");
};

/// Takes what a program puts out, for each member its part; widened unless `native` (widening.h).
class RunOutputs final : public backend::Sink {
 public:
  /// `rows` has each member's share of the first dimension; one member takes all there is. For a model that
  /// batches, every output must have the sum of them as its first dimension.
  RunOutputs(const Executable& executable, bool native, std::vector<int64_t> rows);
  void Tensor(const backend::TensorView& view) override;
  void Keep(const backend::TensorView& shape, backend::Resident* array) override;
  void Name(backend::Bytes) override {}
  void Error(backend::Bytes text) override;
  const Status& status() const { return status_; }
  bool wrong_rows() const { return wrong_rows_; }
  std::vector<std::vector<RunArray>>& members() { return members_; }

 private:
  bool HasAllRows(const backend::TensorView& view);
  Status Add(const backend::TensorView& view);
  Status Cut(const backend::TensorView& view);

  const Executable& executable_;
  bool native_;
  std::vector<int64_t> rows_;
  int64_t all_rows_ = 0;
  std::vector<std::vector<RunArray>> members_;
  Status status_ = Status::Ok();
  bool wrong_rows_ = false;
};

}  // namespace penstock

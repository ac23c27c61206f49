// The torch backend: TorchScript models on the CPU or a GPU, and what the library exports.
//
// DESIGN
//   A loaded module is run by several workers at once, which TorchScript allows as long as forward() does not
//   write to the module. Scripts are in backend_torch_script.cc; what both share, and how errors leave, is in
//   backend_torch_values.h.
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "backend_torch_script.h"
#include "backend_torch_values.h"

namespace penstock {
namespace {

using backend::Bytes;
using backend::Call;
using backend::Sink;
using torch::jit::Stack;

// Kept in the file's bytes: the core reads it before it opens the library.
[[gnu::used]] constexpr char kBuiltFor[] = PENSTOCK_BUILT_FOR TORCH_VERSION;

// In bytes; torch has no answer of its own for sparse arrays, but throws.
uint64_t SizeOf(const at::Tensor& array) {
  switch (array.layout()) {
    case at::kSparse:
      return array._indices().nbytes() + array._values().nbytes();
    case at::kSparseCsr:
    case at::kSparseBsr:
      return array.crow_indices().nbytes() + array.col_indices().nbytes() + array.values().nbytes();
    case at::kSparseCsc:
    case at::kSparseBsc:
      return array.ccol_indices().nbytes() + array.row_indices().nbytes() + array.values().nbytes();
    default:
      return array.nbytes();
  }
}

class TorchModel : public backend::Program {
 public:
  TorchModel(torch::jit::Module module, at::Device device) : module_(std::move(module)), device_(device) {
    module_.eval();
    forward_ = module_.find_method("forward");
    TORCH_CHECK(forward_.has_value(), "the model has no method forward()");
    const auto& arguments = forward_->function().getSchema().arguments();
    for (size_t i = 1; i < arguments.size(); ++i) inputs_.push_back(arguments[i].name());
    for (const at::Tensor& array : module_.parameters()) bytes_ += SizeOf(array);
    for (const at::Tensor& array : module_.buffers()) bytes_ += SizeOf(array);
  }
  void Run(const Call& call, Sink& out) noexcept override {
    Guard(out, [&] {
      PrepareThread();
      torch::NoGradGuard no_gradients;
      torch::jit::Method forward = *forward_;
      Stack values = Bind(forward.function().getSchema(), 1, call, device_);
      EmitAll(forward(std::move(values)), call.output_count, out);
    });
  }
  void Inputs(Sink& out) const noexcept override {
    for (const std::string& name : inputs_) out.Name(ToBytes(name));
  }
  uint64_t MemoryBytes() const noexcept override { return bytes_; }

 private:
  torch::jit::Module module_;
  std::optional<torch::jit::Method> forward_;
  at::Device device_;
  // Asked for on the main thread and in the forked child that saves, where torch must not be called.
  std::vector<std::string> inputs_;
  uint64_t bytes_ = 0;
};

// Lets torch read the pieces of a model file where they lie.
class PieceReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit PieceReader(const backend::ModelSource& source) : source_(source) {
    for (size_t i = 0; i < source.piece_count; ++i) size_ += source.pieces[i].size;
  }
  size_t size() const override { return size_; }
  size_t read(uint64_t position, void* buffer, size_t count, const char*) const override {
    size_t done = 0;
    for (size_t i = 0; i < source_.piece_count && done < count; ++i) {
      const Bytes& piece = source_.pieces[i];
      if (position < piece.size) {
        size_t part = std::min<size_t>(count - done, piece.size - position);
        std::memcpy(static_cast<char*>(buffer) + done, piece.data + position, part);
        done += part;
        position += part;
      }
      position -= std::min<uint64_t>(position, piece.size);
    }
    return done;
  }

 private:
  backend::ModelSource source_;
  size_t size_ = 0;
};

class TorchBackend : public backend::Backend {
 public:
  backend::Program* LoadModel(const backend::ModelSource& source, Sink& out) noexcept override {
    backend::Program* program = nullptr;
    Guard(out, [&] {
      PrepareThread();
      at::Device device = ToDevice(source.device);
      auto reader = std::make_shared<PieceReader>(source);
      program = new TorchModel(torch::jit::load(reader, device), device);
    });
    return program;
  }
  backend::Program* CompileScript(const backend::ScriptSource& source, Sink& out) noexcept override {
    backend::Program* program = nullptr;
    Guard(out, [&] {
      PrepareThread();
      program = CompileTorchScript(source).release();
    });
    return program;
  }
};

backend::Backend* Open(const backend::Threads& wanted, Sink& out) {
  // Never deleted: workers may still be inside when the process leaves.
  static auto* opened = new TorchBackend;
  return Guard(out, [&] { SetThreads(wanted); }) ? opened : nullptr;
}

}  // namespace
}  // namespace penstock

extern "C" __attribute__((visibility("default"))) const penstock::backend::Entry* penstock_backend() {
  static const penstock::backend::Entry entry{penstock::backend::kInterfaceVersion, TORCH_VERSION,
                                              penstock::Open};
  return &entry;
}

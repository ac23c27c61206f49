// The torch backend: models on the CPU or a GPU, and what the library exports.
//
// DESIGN
//   A loaded module is run by several workers at once, which TorchScript allows as long as forward() does not
//   write to the module. Compiled packages are in backend_torch_package.cc, scripts in
//   backend_torch_script.cc; what both share, and how errors leave, is in backend_torch_values.h.
//   Where models are to be optimized, one with convolutions gets a second form for runs of several rows:
//   torch's own convolution on one thread gains nothing by a batch (a small CNN: 72 us a row alone, 85 in
//   fours, 107 in sixty-fours), oneDNN's with weights packed for it does (139, 48 and 22).
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "backend_torch_bounds.h"
#include "backend_torch_checked.h"
#include "backend_torch_containers.h"
#include "backend_torch_graph.h"
#include "backend_torch_package.h"
#include "backend_torch_refused.h"
#include "backend_torch_script.h"
#include "backend_torch_source.h"
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

// A module whose forward() is ready to be called.
class Form {
 public:
  explicit Form(torch::jit::Module module)
      : module_(std::move(module)), forward_(FindForward(module_)), writes_inputs_(WritesInputs(forward_)) {
    GuardLoops(*module_._ivalue()->compilation_unit());
    GuardContainers(*module_._ivalue()->compilation_unit());
  }
  const torch::jit::Method& forward() const { return forward_; }
  bool writes_inputs() const { return writes_inputs_; }
  uint64_t Bytes() const {
    uint64_t bytes = 0;
    for (const at::Tensor& array : module_.parameters()) bytes += SizeOf(array);
    for (const at::Tensor& array : module_.buffers()) bytes += SizeOf(array);
    return bytes + ConstantBytes(forward_);
  }
  void Run(const Call& call, const at::Device& device, Sink& out) const {
    torch::jit::Method forward = forward_;
    Stack values = Bind(forward.function().getSchema(), 1, call, device, writes_inputs_);
    EmitAll(forward(std::move(values)), call, out);
  }

 private:
  static torch::jit::Method FindForward(const torch::jit::Module& module) {
    auto forward = module.find_method("forward");
    TORCH_CHECK(forward.has_value(), "the model has no method forward()");
    return *forward;
  }
  torch::jit::Module module_;
  torch::jit::Method forward_;
  bool writes_inputs_;
};

class TorchModel : public backend::Program {
 public:
  /// `wide` is for runs of several rows.
  TorchModel(Form form, std::optional<Form> wide, at::Device device)
      : form_(std::move(form)), wide_(std::move(wide)), device_(device) {
    const auto& arguments = form_.forward().function().getSchema().arguments();
    for (size_t i = 1; i < arguments.size(); ++i) inputs_.push_back(arguments[i].name());
    bytes_ = form_.Bytes() + (wide_ ? wide_->Bytes() : 0);
    straight_line_ = IsStraightLine(form_.forward());
    writes_inputs_ = form_.writes_inputs() || (wide_ && wide_->writes_inputs());
  }
  void Run(const Call& call, Sink& out) noexcept override {
    Guard(out, [&] {
      PrepareThread();
      torch::NoGradGuard no_gradients;
      RunningCall running(call);
      bool rows = call.input_count > 0 && call.inputs[0].rank > 0 && call.inputs[0].dims[0] > 1;
      (wide_ && rows ? *wide_ : form_).Run(call, device_, out);
    });
  }
  void Inputs(Sink& out) const noexcept override {
    for (const std::string& name : inputs_) out.Name(ToBytes(name));
  }
  void Outputs(Sink&) const noexcept override {}
  bool StraightLine() const noexcept override { return straight_line_; }
  bool WritesInputs() const noexcept override { return writes_inputs_; }
  uint64_t MemoryBytes() const noexcept override { return bytes_; }

 private:
  Form form_;
  std::optional<Form> wide_;
  at::Device device_;
  // Asked for on the main thread and in the forked child that saves, where torch must not be called.
  std::vector<std::string> inputs_;
  uint64_t bytes_ = 0;
  bool straight_line_ = false;
  bool writes_inputs_ = true;
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
      while (position < piece.size && done < count) {
        size_t part = std::min<size_t>({count - done, piece.size - position, kStep});
        std::memcpy(static_cast<char*>(buffer) + done, piece.data + position, part);
        if (source_.has_read != nullptr) source_.has_read({piece.data + position, part});
        done += part;
        position += part;
      }
      position -= std::min<uint64_t>(position, piece.size);
    }
    return done;
  }

 private:
  static constexpr size_t kStep = 4 << 20;
  backend::ModelSource source_;
  size_t size_ = 0;
};

class TorchBackend : public backend::Backend {
 public:
  explicit TorchBackend(const backend::Settings& settings) : settings_(settings) {}
  backend::Program* LoadModel(const backend::ModelSource& source, Sink& out) noexcept override {
    backend::Program* program = nullptr;
    Guard(out, [&] {
      PrepareThread();
      at::Device device = ToDevice(source.device);
      auto reader = std::make_shared<PieceReader>(source);
      program = LoadTorchPackage(source, reader, settings_).release();
      if (program != nullptr) return;
      CheckTorchScript(reader);
      auto module = torch::jit::load(reader, device);
      RefuseOperators(*module._ivalue()->compilation_unit());
      module.eval();
      std::optional<Form> wide;
      if (settings_.freeze && device.is_cpu() && Convolves(module))
        wide.emplace(torch::jit::optimize_for_inference(module));
      if (settings_.freeze) module = torch::jit::freeze(module);
      program = new TorchModel(Form(std::move(module)), std::move(wide), device);
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

 private:
  backend::Settings settings_;
};

void SetUp(const backend::Settings& wanted) {
  ApplySettings(wanted);
  InstallTorchAllocator(wanted);
  ForkOnTheSpot();
  ReplaceRefusedOperators();
  BoundContainers();
  CheckOperators();
}

// What torch has been told cannot be told it twice: a second try has the first one's outcome.
std::exception_ptr SetUpOnce(const backend::Settings& wanted) {
  static const std::exception_ptr failed = [&wanted]() -> std::exception_ptr {
    try {
      SetUp(wanted);
    } catch (...) {
      return std::current_exception();
    }
    return nullptr;
  }();
  return failed;
}

backend::Backend* Open(const backend::Settings& wanted, Sink& out) {
  // Never deleted: workers may still be inside when the process leaves.
  static auto* opened = new TorchBackend(wanted);
  bool set_up = Guard(out, [&] {
    if (auto failed = SetUpOnce(wanted)) std::rethrow_exception(failed);
  });
  return set_up ? opened : nullptr;
}

}  // namespace
}  // namespace penstock

extern "C" __attribute__((visibility("default"))) const penstock::backend::Entry* penstock_backend() {
  static const penstock::backend::Entry entry{penstock::backend::kInterfaceVersion, TORCH_VERSION,
                                              penstock::Open};
  return &entry;
}

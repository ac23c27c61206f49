// The OpenVINO backend: ONNX, TensorFlow (frozen graphs) and TFLite models.
//
// DESIGN
//   A model is compiled once, for as many runs at once as its device has workers, each on its own
//   intra-op threads. What is more (scripts', the main thread's) waits in OpenVINO, behind a lock that cannot
//   be asked; so the main thread runs a model only while nobody else does, and holds up those who come
//   meanwhile: TryRun has `running_` alone, Run shares it. A run takes a request from a pool, lets it read
//   the inputs where they lie, and gives it back; the pool keeps one for each worker and one more. Arithmetic
//   is in 32 bits: OpenVINO would choose bfloat16 by itself where the processor has it. Nothing here is
//   destroyed when the process leaves, because OpenVINO's threads may still be inside.
#include <algorithm>
#include <mutex>
#include <openvino/op/constant.hpp>
#include <openvino/openvino.hpp>
#include <openvino/runtime/exception.hpp>
#include <shared_mutex>
#include <stdexcept>

#include "backend.h"
#include "backend_common.h"
#include "backend_openvino_read.h"

namespace penstock {
namespace {

using backend::Call;
using backend::Sink;
using backend::TensorView;

// Kept in the file's bytes: the core reads it before it opens the library.
[[gnu::used]] constexpr char kBuiltFor[] = PENSTOCK_BUILT_FOR PENSTOCK_OPENVINO_VERSION;

backend::Settings settings{};

struct TypePair {
  DataType ours;
  ov::element::Type_t theirs;
};
constexpr TypePair kTypes[] = {
    {DataType::kFloat, ov::element::f32},     {DataType::kDouble, ov::element::f64},
    {DataType::kInt8, ov::element::i8},       {DataType::kInt16, ov::element::i16},
    {DataType::kInt32, ov::element::i32},     {DataType::kInt64, ov::element::i64},
    {DataType::kUint8, ov::element::u8},      {DataType::kUint16, ov::element::u16},
    {DataType::kBool, ov::element::boolean},  {DataType::kFloat16, ov::element::f16},
    {DataType::kBfloat16, ov::element::bf16}, {DataType::kUint32, ov::element::u32},
    {DataType::kUint64, ov::element::u64},
};

std::optional<DataType> ToOurs(ov::element::Type type) {
  for (const TypePair& pair : kTypes) {
    if (type == pair.theirs) return pair.ours;
  }
  return std::nullopt;
}

ov::element::Type ToTheirs(DataType type) {
  for (const TypePair& pair : kTypes) {
    if (type == pair.ours) return pair.theirs;
  }
  throw std::runtime_error("a tensor of this type cannot be given to OpenVINO");
}

InputSpec Describe(const std::string& name, const ov::Output<const ov::Node>& port) {
  InputSpec spec{name, ToOurs(port.get_element_type()), std::nullopt};
  const ov::PartialShape& shape = port.get_partial_shape();
  if (shape.rank().is_dynamic()) return spec;
  spec.shape.emplace();
  for (const ov::Dimension& size : shape) spec.shape->push_back(size.is_static() ? size.get_length() : -1);
  return spec;
}

// Scalars leave as shape (1,), because SmartRedis refuses tensors of rank 0.
void Emit(const ov::Tensor& tensor, Sink& out) {
  auto type = ToOurs(tensor.get_element_type());
  if (!type)
    throw std::runtime_error("an output of type " + tensor.get_element_type().get_type_name() +
                             " cannot be stored as a tensor");
  const ov::Shape& shape = tensor.get_shape();
  std::vector<int64_t> dims(std::max<size_t>(shape.size(), 1), 1);
  std::copy(shape.begin(), shape.end(), dims.begin());
  out.Tensor({*type, dims.data(), dims.size(), const_cast<void*>(tensor.data()), tensor.get_byte_size()});
}

uint64_t ConstantBytes(const ov::Model& model) {
  uint64_t bytes = 0;
  for (const auto& node : model.get_ordered_ops()) {
    auto constant = std::dynamic_pointer_cast<ov::op::v0::Constant>(node);
    if (constant != nullptr) bytes += constant->get_byte_size();
  }
  return bytes;
}

// Requests of one compiled model, lent to one run each.
class RequestPool {
 public:
  explicit RequestPool(ov::CompiledModel compiled) : compiled_(std::move(compiled)) {}
  ov::InferRequest Take() {
    {
      std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        ov::InferRequest request = std::move(idle_.back());
        idle_.pop_back();
        return request;
      }
    }
    return compiled_.create_infer_request();
  }
  void GiveBack(ov::InferRequest request) {
    std::lock_guard lock(mutex_);
    if (idle_.size() <= static_cast<size_t>(std::max(settings.workers, 1)))
      idle_.push_back(std::move(request));
  }

 private:
  ov::CompiledModel compiled_;
  std::mutex mutex_;
  std::vector<ov::InferRequest> idle_;  // guarded by mutex_
};

// Lets a run be cancelled for as long as this lives.
class Cancelable {
 public:
  Cancelable(backend::Canceler* canceler, ov::InferRequest* request) : canceler_(canceler) {
    if (canceler_ == nullptr) return;
    canceler_->OnCancel(Cancel, request);
  }
  ~Cancelable() {
    if (canceler_ != nullptr) canceler_->OnCancel(nullptr, nullptr);
  }
  Cancelable(const Cancelable&) = delete;
  Cancelable& operator=(const Cancelable&) = delete;

 private:
  static void Cancel(void* request) {
    try {
      static_cast<ov::InferRequest*>(request)->cancel();
    } catch (const std::exception&) {
      // It goes on to its end, and who waits for it has been told.
    }
  }
  backend::Canceler* canceler_;
};

class OpenvinoModel : public backend::Program {
 public:
  OpenvinoModel(const ReadModel& read, ov::CompiledModel compiled)
      : outputs_(read.output_names),
        requests_(compiled),
        bytes_(ConstantBytes(*read.model)),
        straight_line_(IsStraightLine(*read.model)) {
    for (size_t i = 0; i < read.inputs.size(); ++i)
      inputs_.push_back(Describe(read.input_names[i], read.inputs[i]));
    input_ports_ = Positions(std::as_const(*read.model).inputs(), read.inputs);
    output_ports_ = Positions(std::as_const(*read.model).outputs(), read.outputs);
  }
  void Run(const Call& call, Sink& out) noexcept override {
    std::shared_lock others_may(running_);
    RunHere(call, out);
  }
  bool TryRun(const Call& call, Sink& out) noexcept override {
    std::unique_lock alone(running_, std::try_to_lock);
    if (!alone) return false;
    RunHere(call, out);
    return true;
  }
  void Inputs(Sink& out) const noexcept override {
    for (const InputSpec& input : inputs_) out.Name(ToBytes(input.name));
  }
  void Outputs(Sink& out) const noexcept override {
    for (const std::string& name : outputs_) out.Name(ToBytes(name));
  }
  bool StraightLine() const noexcept override { return straight_line_; }
  uint64_t MemoryBytes() const noexcept override { return bytes_; }

 private:
  using Ports = std::vector<ov::Output<const ov::Node>>;
  // Where each port is in the compiled model, which numbers them as the model did that it was made from.
  static std::vector<size_t> Positions(const Ports& all, const Ports& ordered) {
    std::vector<size_t> positions;
    for (const auto& port : ordered)
      positions.push_back(static_cast<size_t>(std::find(all.begin(), all.end(), port) - all.begin()));
    return positions;
  }
  void RunHere(const Call& call, Sink& out) noexcept {
    Guarded(out, [&] {
      CheckRun(inputs_, outputs_.size(), call);
      ov::InferRequest request = requests_.Take();
      Infer(call, &request);
      for (size_t port : output_ports_) Emit(request.get_output_tensor(port), out);
      requests_.GiveBack(std::move(request));  // not after an error: it may be in any state
    });
  }
  void Infer(const Call& call, ov::InferRequest* request) {
    for (size_t i = 0; i < call.input_count; ++i) {
      const TensorView& view = call.inputs[i];
      ov::Shape shape(view.dims, view.dims + view.rank);
      request->set_input_tensor(input_ports_[i], ov::Tensor(ToTheirs(view.type), shape, view.data));
    }
    Cancelable cancelable(call.canceler, request);
    const char* terminated = "Exiting due to terminate flag being set to true";
    // A request that does not run yet forgets that it was canceled.
    if (call.canceler != nullptr && call.canceler->Canceled()) throw std::runtime_error(terminated);
    try {
      request->infer();
    } catch (const ov::Cancelled&) {
      throw std::runtime_error(terminated);
    }
  }

  std::vector<InputSpec> inputs_;
  std::vector<std::string> outputs_;
  std::vector<size_t> input_ports_;
  std::vector<size_t> output_ports_;
  RequestPool requests_;
  std::shared_mutex running_;
  uint64_t bytes_;
  bool straight_line_;
};

// OpenVINO's name of CPU, CPU:1, GPU or GPU:1.
std::string DeviceName(ov::Core& core, const std::string& name) {
  if (name.rfind("GPU", 0) != 0) return "CPU";
  std::string wanted = name;
  std::replace(wanted.begin(), wanted.end(), ':', '.');
  for (const std::string& there : core.get_available_devices()) {
    if (there == wanted || there == wanted + ".0" || there + ".0" == wanted) return there;
  }
  throw std::runtime_error("device " + name + " was asked for, but OpenVINO finds no such GPU here");
}

ov::AnyMap Properties(const std::string& device) {
  ov::AnyMap properties{ov::hint::inference_precision(ov::element::f32)};
  if (device != "CPU") return properties;
  int workers = std::max(settings.workers, 1);
  properties.insert(ov::num_streams(workers));
  properties.insert(ov::inference_num_threads(workers * std::max(settings.intra_op_threads, 1)));
  properties.insert(ov::hint::enable_cpu_pinning(false));  // other servers and the solver share the cores
  return properties;
}

class OpenvinoBackend : public backend::Backend {
 public:
  backend::Program* LoadModel(const backend::ModelSource& source, Sink& out) noexcept override {
    backend::Program* program = nullptr;
    Guarded(out, [&] {
      std::string device = DeviceName(core_, ToString(source.device));
      ReadModel read = ReadAnyModel(source);
      program = new OpenvinoModel(read, core_.compile_model(read.model, device, Properties(device)));
    });
    return program;
  }
  backend::Program* CompileScript(const backend::ScriptSource&, Sink& out) noexcept override {
    out.Error(ToBytes("OpenVINO runs no scripts"));
    return nullptr;
  }

 private:
  ov::Core core_;
};

backend::Backend* Open(const backend::Settings& wanted, Sink& out) {
  static OpenvinoBackend* opened = nullptr;
  Guarded(out, [&] {
    settings = wanted;
    if (opened == nullptr) opened = new OpenvinoBackend;
  });
  return opened;
}

}  // namespace
}  // namespace penstock

extern "C" __attribute__((visibility("default"))) const penstock::backend::Entry* penstock_backend() {
  static const penstock::backend::Entry entry{penstock::backend::kInterfaceVersion, PENSTOCK_OPENVINO_VERSION,
                                              penstock::Open};
  return &entry;
}

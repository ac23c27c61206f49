// The onnxruntime backend: ONNX models, the same answers and words as with OpenVINO.
//
// DESIGN
//   Compiled without anything of onnxruntime (onnxruntime_api.h) and bound when it is opened, so that one
//   file fits every version from 1.11 on. A session is run by several threads at once, each on its own when
//   there is one intra-op thread. All memory comes from our allocator, without an arena in front of it, so
//   that BACKEND_MEMORY_LIMIT and maxmemory bound it and MEMORY USAGE knows it; what it throws goes through
//   onnxruntime, which makes an error of it. Nothing here is destroyed when the process leaves.
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "allocation.h"
#include "backend.h"
#include "backend_common.h"
#include "onnx_file.h"
#include "onnxruntime_api.h"

namespace penstock {

bool ort::Api::Bind(const void* base) {
  struct Base {
    void* const* (*table)(uint32_t version);
    const char* (*version)();
  };
  constexpr uint32_t kNeeded = 11;
  table_ = static_cast<const Base*>(base)->table(kNeeded);
  version_ = static_cast<const Base*>(base)->version();
  return table_ != nullptr;
}

namespace {

using backend::Call;
using backend::Sink;
using backend::TensorView;

// Kept in the file's bytes: the core reads it before it opens the library.
[[gnu::used]] constexpr char kBuiltFor[] = PENSTOCK_BUILT_FOR "any";

ort::Api* api = nullptr;
ort::MemoryInfo* cpu = nullptr;
ort::Environment* environment = nullptr;
backend::Settings settings{};

void Check(ort::Status* status) {
  if (status == nullptr) return;
  std::string text = api->error_message(status);
  api->release_status(status);
  throw std::runtime_error(text);
}

// A handle that is released by the function of the table that `release` names.
template <class Handle, auto release>
struct Released {
  void operator()(Handle* handle) const { (api->*release)(handle); }
};
template <class Handle, auto release>
using Owned = std::unique_ptr<Handle, Released<Handle, release>>;
using OwnedSession = Owned<ort::Session, &ort::Api::release_session>;
using OwnedSessionOptions = Owned<ort::SessionOptions, &ort::Api::release_session_options>;
using OwnedRunOptions = Owned<ort::RunOptions, &ort::Api::release_run_options>;
using OwnedValue = Owned<ort::Value, &ort::Api::release_value>;
using OwnedTypeInfo = Owned<ort::TypeInfo, &ort::Api::release_type_info>;
using OwnedTensorInfo = Owned<ort::TensorInfo, &ort::Api::release_tensor_info>;

/// Calls `make(&handle)` and owns what comes.
template <class Owner, class Make>
Owner Made(Make make) {
  typename Owner::pointer handle = nullptr;
  Check(make(&handle));
  return Owner(handle);
}

void* Allocate(ort::Allocator*, size_t bytes) { return bytes == 0 ? nullptr : AllocateBounded(bytes); }

void Release(ort::Allocator*, void* memory) { ReleaseBounded(memory); }

ort::Allocator allocator{11, Allocate, Release,
                         [](const ort::Allocator*) -> const ort::MemoryInfo* { return cpu; }};

struct TypePair {
  DataType ours;
  int theirs;
};
constexpr TypePair kTypes[] = {
    {DataType::kFloat, ort::kFloat},
    {DataType::kDouble, ort::kDouble},
    {DataType::kInt8, ort::kInt8},
    {DataType::kInt16, ort::kInt16},
    {DataType::kInt32, ort::kInt32},
    {DataType::kInt64, ort::kInt64},
    {DataType::kUint8, ort::kUint8},
    {DataType::kUint16, ort::kUint16},
    {DataType::kBool, ort::kBool},
    {DataType::kFloat16, ort::kFloat16},
    {DataType::kBfloat16, ort::kBfloat16},
    {DataType::kUint32, ort::kUint32},
    {DataType::kUint64, ort::kUint64},
    {DataType::kComplex64, ort::kComplex64},
    {DataType::kComplex128, ort::kComplex128},
};

std::optional<DataType> ToOurs(int type) {
  for (const TypePair& pair : kTypes) {
    if (type == pair.theirs) return pair.ours;
  }
  return std::nullopt;
}

int ToTheirs(DataType type) {
  for (const TypePair& pair : kTypes) {
    if (type == pair.ours) return pair.theirs;
  }
  throw std::runtime_error("a tensor of this type cannot be given to onnxruntime");
}

size_t SizeOf(DataType type) {
  switch (type) {
    case DataType::kInt8:
    case DataType::kUint8:
    case DataType::kBool:
      return 1;
    case DataType::kInt16:
    case DataType::kUint16:
    case DataType::kFloat16:
    case DataType::kBfloat16:
      return 2;
    case DataType::kFloat:
    case DataType::kInt32:
    case DataType::kUint32:
      return 4;
    case DataType::kComplex128:
      return 16;
    default:
      return 8;
  }
}

std::vector<int64_t> Dimensions(const ort::TensorInfo* info) {
  size_t rank = 0;
  Check(api->rank(info, &rank));
  std::vector<int64_t> dims(rank);
  Check(api->dimensions(info, dims.data(), rank));
  return dims;
}

std::optional<DataType> TypeOf(const ort::TensorInfo* info) {
  int type = 0;
  Check(api->element_type(info, &type));
  return ToOurs(type);
}

// An input that is no tensor (a list, a map) is one that no type fits.
InputSpec DescribeInput(const ort::Session* session, size_t at, std::string name) {
  auto type = Made<OwnedTypeInfo>([&](auto** made) { return api->input_type(session, at, made); });
  const ort::TensorInfo* info = nullptr;
  Check(api->tensor_info_of_type(type.get(), &info));
  InputSpec spec{std::move(name), std::nullopt, std::nullopt};
  if (info == nullptr) return spec;
  spec.type = TypeOf(info);
  spec.shape = Dimensions(info);
  return spec;
}

template <class Count, class Name>
std::vector<std::string> Names(const ort::Session* session, const Count& count, const Name& name) {
  size_t there = 0;
  Check(count(session, &there));
  std::vector<std::string> names;
  for (size_t i = 0; i < there; ++i) {
    char* text = nullptr;
    Check(name(session, i, &allocator, &text));
    names.emplace_back(text);
    Release(&allocator, text);
  }
  return names;
}

std::vector<const char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  return pointers;
}

OwnedValue Wrap(const TensorView& view) {
  return Made<OwnedValue>([&](ort::Value** made) {
    return api->create_tensor_over(cpu, view.data, view.size, view.dims, view.rank, ToTheirs(view.type),
                                   made);
  });
}

// Scalars leave as shape (1,), because SmartRedis refuses tensors of rank 0.
void Emit(ort::Value* value, Sink& out) {
  int tensor = 0;
  Check(api->is_tensor(value, &tensor));
  if (tensor == 0) throw std::runtime_error("an output that is no tensor cannot be stored");
  auto info = Made<OwnedTensorInfo>([&](auto** made) { return api->tensor_info_of_value(value, made); });
  auto type = TypeOf(info.get());
  if (!type) throw std::runtime_error("an output of this type cannot be stored as a tensor");
  std::vector<int64_t> dims = Dimensions(info.get());
  if (dims.empty()) dims.resize(1, 1);
  size_t bytes = SizeOf(*type);
  for (int64_t size : dims) bytes *= static_cast<size_t>(size);
  void* data = nullptr;
  Check(api->tensor_data(value, &data));
  out.Tensor({*type, dims.data(), dims.size(), data, bytes});
}

// Ends a run from outside for as long as this lives.
class Cancelable {
 public:
  explicit Cancelable(backend::Canceler* canceler)
      : canceler_(canceler),
        options_(Made<OwnedRunOptions>([](auto** made) { return api->create_run_options(made); })) {
    if (canceler_ != nullptr) canceler_->OnCancel(Terminate, options_.get());
  }
  ~Cancelable() {
    if (canceler_ != nullptr) canceler_->OnCancel(nullptr, nullptr);
  }
  Cancelable(const Cancelable&) = delete;
  Cancelable& operator=(const Cancelable&) = delete;
  const ort::RunOptions* options() const { return options_.get(); }

 private:
  static void Terminate(void* data) {
    ort::Status* status = api->set_terminate(static_cast<ort::RunOptions*>(data));
    if (status != nullptr) api->release_status(status);
  }

  backend::Canceler* canceler_;
  OwnedRunOptions options_;
};

class OnnxModel : public backend::Program {
 public:
  OnnxModel(OwnedSession session, uint64_t bytes, bool straight_line)
      : session_(std::move(session)), bytes_(bytes), straight_line_(straight_line) {
    input_names_ = Names(session_.get(), api->input_count, api->input_name);
    output_names_ = Names(session_.get(), api->output_count, api->output_name);
    for (size_t i = 0; i < input_names_.size(); ++i)
      inputs_.push_back(DescribeInput(session_.get(), i, input_names_[i]));
  }
  void Run(const Call& call, Sink& out) noexcept override {
    Guarded(out, [&] {
      CheckRun(inputs_, output_names_.size(), call);
      RunBudget budget(call);
      for (const OwnedValue& output : Compute(call)) Emit(output.get(), out);
    });
  }
  void Inputs(Sink& out) const noexcept override {
    for (const std::string& name : input_names_) out.Name(ToBytes(name));
  }
  void Outputs(Sink& out) const noexcept override {
    for (const std::string& name : output_names_) out.Name(ToBytes(name));
  }
  bool StraightLine() const noexcept override { return straight_line_; }
  bool WritesInputs() const noexcept override { return false; }
  uint64_t MemoryBytes() const noexcept override { return bytes_; }

 private:
  std::vector<OwnedValue> Compute(const Call& call) {
    std::vector<OwnedValue> inputs;
    std::vector<const ort::Value*> given;
    for (size_t i = 0; i < call.input_count; ++i)
      given.push_back(inputs.emplace_back(Wrap(call.inputs[i])).get());
    auto input_names = Pointers(input_names_);
    auto output_names = Pointers(output_names_);
    std::vector<ort::Value*> made(output_names.size(), nullptr);
    Cancelable cancelable(call.canceler);
    ort::Status* status = api->run(session_.get(), cancelable.options(), input_names.data(), given.data(),
                                   given.size(), output_names.data(), output_names.size(), made.data());
    std::vector<OwnedValue> outputs;
    for (ort::Value* value : made) outputs.emplace_back(value);
    Check(status);
    return outputs;
  }

  OwnedSession session_;
  std::vector<std::string> input_names_;
  std::vector<std::string> output_names_;
  std::vector<InputSpec> inputs_;
  uint64_t bytes_;
  bool straight_line_;
};

OwnedSessionOptions Options() {
  auto options = Made<OwnedSessionOptions>([](auto** made) { return api->create_session_options(made); });
  Check(api->set_intra_op_threads(options.get(), std::max(settings.intra_op_threads, 1)));
  if (settings.inter_op_threads > 0)
    Check(api->set_inter_op_threads(options.get(), settings.inter_op_threads));
  Check(api->disable_cpu_arena(options.get()));
  Check(api->disable_memory_pattern(options.get()));  // it would ask for the memory of a whole run at once
  Check(api->set_session_option(options.get(), "session.use_env_allocators", "1"));
  Check(api->set_session_option(options.get(), "session.intra_op.allow_spinning", "0"));  // idle is idle
  return options;
}

class OnnxruntimeBackend : public backend::Backend {
 public:
  backend::Program* LoadModel(const backend::ModelSource& source, Sink& out) noexcept override {
    backend::Program* program = nullptr;
    Guarded(out, [&] { program = Load(source).release(); });
    return program;
  }
  backend::Program* CompileScript(const backend::ScriptSource&, Sink& out) noexcept override {
    out.Error(ToBytes("onnxruntime runs no scripts"));
    return nullptr;
  }

 private:
  static std::unique_ptr<OnnxModel> Load(const backend::ModelSource& source) {
    std::string joined;
    std::string_view file = WholeFile(source, &joined);
    OnnxFacts facts = ReadOnnxFacts(file);
    if (!facts.has_graph) throw std::runtime_error("No graph was found in the protobuf.");
    if (facts.external_data)
      throw std::runtime_error("Initializer tensors with external data is not allowed.");
    if (ToString(source.device).rfind("GPU", 0) == 0)
      throw std::runtime_error("device " + ToString(source.device) +
                               " was asked for, but onnxruntime runs here on the CPU only");
    auto options = Options();
    int64_t before = BytesOfThisThread();
    auto session = Made<OwnedSession>([&](ort::Session** made) {
      return api->create_session(environment, file.data(), file.size(), options.get(), made);
    });
    auto bytes = static_cast<uint64_t>(std::max<int64_t>(BytesOfThisThread() - before, 0));
    return std::make_unique<OnnxModel>(std::move(session), bytes, facts.straight_line);
  }
};

// The library has been opened by the core, by its path; its one function is found through the name it has for
// the linker.
void BindLibrary() {
  void* library = dlopen("libonnxruntime.so.1", RTLD_NOW | RTLD_LOCAL);
  auto base =
      library == nullptr ? nullptr : reinterpret_cast<const void* (*)()>(dlsym(library, "OrtGetApiBase"));
  static ort::Api bound;
  if (base == nullptr || !bound.Bind(base()))
    throw std::runtime_error("there is no onnxruntime of version 1.11 or newer: pip install onnxruntime");
  api = &bound;
}

backend::Backend* Open(const backend::Settings& wanted, Sink& out) {
  static OnnxruntimeBackend* opened = nullptr;
  Guarded(out, [&] {
    constexpr int kErrors = 3;
    constexpr int kDeviceAllocator = 0;
    constexpr int kDefaultMemory = 0;
    settings = wanted;
    InstallMemory("Onnxruntime", wanted);
    BindLibrary();
    Check(api->create_environment(kErrors, "penstock", &environment));
    Check(api->create_cpu_memory_info(kDeviceAllocator, kDefaultMemory, &cpu));
    Check(api->register_allocator(environment, &allocator));
    opened = new OnnxruntimeBackend;
  });
  return opened;
}

}  // namespace
}  // namespace penstock

extern "C" __attribute__((visibility("default"))) const penstock::backend::Entry* penstock_backend() {
  static penstock::backend::Entry entry{penstock::backend::kInterfaceVersion, "unknown", penstock::Open};
  if (penstock::api != nullptr) entry.library_version = penstock::api->version();
  return &entry;
}

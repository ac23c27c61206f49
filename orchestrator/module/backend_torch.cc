// The torch backend: TorchScript models and scripts, on the CPU or a GPU.
//
// DESIGN
//   The only file that includes torch. Every entry from the core is noexcept: what torch throws becomes one
//   Error of one line. Threads: a loaded module is run by several workers at once, which TorchScript allows
//   as long as forward() does not write to the module. `at::set_num_threads` counts per thread, so each
//   worker sets it when it comes here first. The core owns the input memory and gives each run a private,
//   aligned copy; from_blob needs no copy of ours.
#include <ATen/Parallel.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/cuda.h>
#include <torch/jit.h>
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"

namespace penstock {
namespace {

using backend::Bytes;
using backend::Call;
using backend::Host;
using backend::Sink;
using backend::TensorView;
using c10::IValue;
using torch::jit::Stack;

// Kept in the file's bytes: the core reads it before it opens the library.
[[gnu::used]] constexpr char kBuiltFor[] = PENSTOCK_BUILT_FOR TORCH_VERSION;

// Texts that clients of RedisAI know.
constexpr char kWrongInputs[] = "Number of keys given as INPUTS here does not match model definition";
constexpr char kWrongOutputs[] = "Number of keys given as OUTPUTS here does not match model definition";

// ---- text -------------------------------------------------------------------------------------------------

std::string ToString(Bytes bytes) { return std::string(bytes.data, bytes.size); }

Bytes ToBytes(const std::string& text) { return {text.data(), text.size()}; }

// torch's messages have many lines and end in a C++ backtrace: keep what is said, on one line.
std::string OneLine(std::string text) {
  for (const char* noise : {"\nException raised from", "\nC++ CapturedTraceback"}) {
    text.resize(std::min(text.size(), text.find(noise)));
  }
  std::string line;
  for (char c : text) {
    bool blank = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!blank) line += c;
    if (blank && !line.empty() && line.back() != ' ') line += ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

// What a script's interpreter says is a traceback with the error at its end: say the error first.
std::string ErrorFirst(const std::string& line) {
  const std::string mark = "RuntimeError: ";
  size_t start = line.rfind(mark);
  if (start == std::string::npos || start == 0) return line;
  return line.substr(start + mark.size()) + " (" + line.substr(0, start - 1) + ")";
}

// Runs `work`; whatever it throws ends up in `out`.
template <class Work>
bool Guard(Sink& out, Work work) noexcept {
  std::string text;
  try {
    work();
    return true;
  } catch (const c10::Error& error) {
    text = OneLine(error.what_without_backtrace());
  } catch (const std::exception& error) {
    text = OneLine(error.what());
  } catch (...) {
    text = "torch threw something that is no exception";
  }
  out.Error(ToBytes(ErrorFirst(text)));
  return false;
}

// ---- tensors ----------------------------------------------------------------------------------------------

at::ScalarType ToTorch(DataType type) {
  switch (type) {
    case DataType::kFloat:
      return at::kFloat;
    case DataType::kDouble:
      return at::kDouble;
    case DataType::kInt8:
      return at::kChar;
    case DataType::kInt16:
      return at::kShort;
    case DataType::kInt32:
      return at::kInt;
    case DataType::kInt64:
      return at::kLong;
    case DataType::kUint8:
      return at::kByte;
    case DataType::kUint16:
      return at::ScalarType::UInt16;
    case DataType::kBool:
      return at::kBool;
    case DataType::kString:
      break;
  }
  TORCH_CHECK(false, "a tensor of strings cannot be given to torch");
}

DataType FromTorch(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return DataType::kFloat;
    case at::kDouble:
      return DataType::kDouble;
    case at::kChar:
      return DataType::kInt8;
    case at::kShort:
      return DataType::kInt16;
    case at::kInt:
      return DataType::kInt32;
    case at::kLong:
      return DataType::kInt64;
    case at::kByte:
      return DataType::kUint8;
    case at::ScalarType::UInt16:
      return DataType::kUint16;
    case at::kBool:
      return DataType::kBool;
    default:
      TORCH_CHECK(false, "an output of type ", at::toString(type), " cannot be stored as a tensor");
  }
}

at::Tensor Wrap(const TensorView& view, const at::Device& device) {
  auto tensor = torch::from_blob(view.data, at::IntArrayRef(view.dims, view.rank), ToTorch(view.type));
  return device.is_cpu() ? tensor : tensor.to(device);
}

// Scalars leave as shape (1,), because SmartRedis refuses tensors of rank 0.
void Emit(const at::Tensor& output, Sink& out) {
  bool narrow = output.scalar_type() == at::kHalf || output.scalar_type() == at::kBFloat16;
  at::Tensor tensor = (narrow ? output.to(at::kFloat) : output).to(at::kCPU).contiguous();
  if (tensor.dim() == 0) tensor = tensor.reshape({1});
  out.Tensor({FromTorch(tensor.scalar_type()), tensor.sizes().data(), static_cast<size_t>(tensor.dim()),
              tensor.data_ptr(), static_cast<size_t>(tensor.nbytes())});
}

void Collect(const IValue& value, std::vector<at::Tensor>* tensors) {
  if (value.isTensor()) return tensors->push_back(value.toTensor());
  if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) tensors->push_back(tensor);
    return;
  }
  TORCH_CHECK(value.isTuple() || value.isList(),
              "an output is neither a tensor nor a list or tuple of tensors but ", value.tagKind());
  if (value.isList()) {
    for (const IValue& entry : value.toListRef()) Collect(entry, tensors);
    return;
  }
  for (const IValue& entry : value.toTupleRef().elements()) Collect(entry, tensors);
}

void EmitAll(const IValue& result, size_t expected, Sink& out) {
  std::vector<at::Tensor> tensors;
  if (!result.isNone()) Collect(result, &tensors);
  TORCH_CHECK(tensors.size() == expected, kWrongOutputs);
  for (const at::Tensor& tensor : tensors) Emit(tensor, out);
}

// ---- devices and threads ----------------------------------------------------------------------------------

backend::Threads threads{1, 0};

void PrepareThread() {
  thread_local bool prepared = false;
  if (prepared) return;
  at::set_num_threads(threads.intra_op > 0 ? threads.intra_op : 1);
  prepared = true;
}

at::Device ToDevice(Bytes name) {
  std::string text = ToString(name);
  if (text.rfind("GPU", 0) != 0) return at::Device(at::kCPU);
  size_t colon = text.find(':');
  int index = colon == std::string::npos ? 0 : std::stoi(text.substr(colon + 1));
  TORCH_CHECK(torch::cuda::is_available(), "device ", text, " was asked for, but torch ", TORCH_VERSION,
              " finds no GPU here");
  TORCH_CHECK(index < static_cast<int>(torch::cuda::device_count()), "device ", text,
              " was asked for, but there are ", torch::cuda::device_count(), " GPUs");
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

// ---- what scripts may call: redis.execute, redis.asList, redisAI.model_execute ----------------------------

thread_local Host* running_host = nullptr;
thread_local at::Device* running_device = nullptr;

// Builds an IValue from a reply that arrives depth first.
class ReplyBuilder : public backend::ReplySink {
 public:
  void Nil() override { Add(IValue()); }
  void Integer(int64_t value) override { Add(IValue(value)); }
  void String(Bytes value) override { Add(IValue(ToString(value))); }
  void Error(Bytes text) override { error_ = ToString(text); }
  void Array(size_t length) override {
    open_.push_back({c10::impl::GenericList(c10::AnyType::get()), length});
    CloseFull();
  }
  IValue Take() {
    TORCH_CHECK(error_.empty(), "Redis command returned an error: ", error_);
    return result_;
  }

 private:
  struct Level {
    c10::impl::GenericList list;
    size_t length;
  };
  void Add(IValue value) {
    if (open_.empty()) {
      result_ = std::move(value);
      return;
    }
    open_.back().list.push_back(std::move(value));
    CloseFull();
  }
  void CloseFull() {
    if (open_.empty() || open_.back().list.size() < open_.back().length) return;
    IValue list(open_.back().list);
    open_.pop_back();
    Add(std::move(list));
  }
  std::vector<Level> open_;
  IValue result_;
  std::string error_;
};

// Keeps a model's outputs as torch tensors.
class TensorKeeper : public Sink {
 public:
  void Tensor(const TensorView& view) override {
    tensors.push_back(Wrap(view, at::Device(at::kCPU)).clone().to(*running_device));
  }
  void Name(Bytes) override {}
  void Error(Bytes text) override { error = ToString(text); }
  std::vector<at::Tensor> tensors;
  std::string error;
};

// With all the digits that reading it back needs, and no more.
std::string ShortestText(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

std::string CommandWord(const IValue& value) {
  if (value.isString()) return value.toStringRef();
  if (value.isInt()) return std::to_string(value.toInt());
  if (value.isDouble()) return ShortestText(value.toDouble());
  TORCH_CHECK(false, "redis.execute takes strings and numbers, not ", value.tagKind());
}

void PushWords(const IValue& value, std::vector<std::string>* words) {
  if (!value.isList()) return words->push_back(CommandWord(value));
  for (const IValue& entry : value.toListRef()) words->push_back(CommandWord(entry));
}

void ExecuteCommand(Stack& stack) {
  int64_t count = torch::jit::pop(stack).toInt();
  std::vector<std::string> words;
  for (const IValue& value : torch::jit::last(stack, static_cast<size_t>(count))) PushWords(value, &words);
  torch::jit::drop(stack, static_cast<size_t>(count));
  std::vector<Bytes> arguments;
  for (const std::string& word : words) arguments.push_back(ToBytes(word));
  TORCH_CHECK(running_host != nullptr && !words.empty(),
              "redis.execute needs a command, inside a running script");
  ReplyBuilder reply;
  running_host->RunCommand(arguments.data(), arguments.size(), reply);
  torch::jit::push(stack, reply.Take());
}

void AsList(Stack& stack) {
  IValue value = torch::jit::pop(stack);
  TORCH_CHECK(value.isList(), "redis.asList was given ", value.tagKind(), ", not a list");
  torch::jit::push(stack, std::move(value));
}

void ExecuteModel(Stack& stack) {
  int64_t output_count = torch::jit::pop(stack).toInt();
  std::vector<at::Tensor> inputs = torch::jit::pop(stack).toTensorVector();
  std::string key = torch::jit::pop(stack).toStringRef();
  TORCH_CHECK(running_host != nullptr && output_count > 0,
              "redisAI.model_execute needs a positive number of outputs, inside a running script");
  std::vector<TensorView> views;
  for (at::Tensor& tensor : inputs) {
    tensor = tensor.to(at::kCPU).contiguous();
    views.push_back({FromTorch(tensor.scalar_type()), tensor.sizes().data(),
                     static_cast<size_t>(tensor.dim()), tensor.data_ptr(),
                     static_cast<size_t>(tensor.nbytes())});
  }
  TensorKeeper outputs;
  running_host->RunModel(ToBytes(key), views.data(), views.size(), static_cast<size_t>(output_count),
                         outputs);
  TORCH_CHECK(outputs.error.empty(), outputs.error);
  torch::jit::push(stack, IValue(outputs.tensors));
}

torch::jit::RegisterOperators& RegisterScriptCalls() {
  using torch::jit::Operator;
  const auto alias = c10::AliasAnalysisKind::CONSERVATIVE;
  static auto* registered = new torch::jit::RegisterOperators({
      Operator("redis::execute(...) -> Any", ExecuteCommand, alias),
      Operator("redis::asList(Any value) -> Any[]", AsList, alias),
      Operator("redisAI::model_execute(str key, Tensor[] inputs, int output_count) -> Tensor[]", ExecuteModel,
               alias),
  });
  return *registered;
}

struct ScriptNames : torch::jit::Resolver {
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string& name, torch::jit::GraphFunction&,
                                                         const torch::jit::SourceRange&) override {
    if (name == "torch") return std::make_shared<torch::jit::BuiltinModule>("aten");
    if (name == "redis" || name == "redisAI") return std::make_shared<torch::jit::BuiltinModule>(name);
    constexpr const char* kExceptions[] = {"Exception",           "RuntimeError",  "ValueError",
                                           "TypeError",           "IndexError",    "KeyError",
                                           "NotImplementedError", "AssertionError"};
    bool exception = std::any_of(std::begin(kExceptions), std::end(kExceptions),
                                 [&](auto known) { return name == known; });
    if (exception) return std::make_shared<torch::jit::ExceptionValue>(name);
    return nullptr;
  }
};

// ---- programs ---------------------------------------------------------------------------------------------

bool IsTensor(const c10::Argument& argument) { return argument.type()->kind() == c10::TypeKind::TensorType; }

bool IsListOf(const c10::Argument& argument, c10::TypeKind kind) {
  auto list = argument.type()->cast<c10::ListType>();
  return list != nullptr && list->getElementType()->kind() == kind;
}

// Tensor arguments take inputs by position, List[Tensor] the rest; List[str] takes keys, then texts.
std::vector<IValue> Bind(const c10::FunctionSchema& schema, size_t first, const Call& call,
                         const at::Device& device) {
  std::vector<IValue> values;
  size_t next = 0;
  size_t string_lists = 0;
  for (size_t i = first; i < schema.arguments().size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    if (IsListOf(argument, c10::TypeKind::TensorType)) {
      c10::List<at::Tensor> rest;
      while (next < call.input_count) rest.push_back(Wrap(call.inputs[next++], device));
      values.emplace_back(std::move(rest));
    } else if (IsListOf(argument, c10::TypeKind::StringType)) {
      c10::List<std::string> strings;
      const Bytes* from = string_lists == 0 ? call.keys : call.texts;
      size_t count = string_lists++ == 0 ? call.key_count : call.text_count;
      for (size_t k = 0; k < count; ++k) strings.push_back(ToString(from[k]));
      values.emplace_back(std::move(strings));
    } else if (next < call.input_count && !IsTensor(argument) &&
               !argument.type()->cast<c10::OptionalType>()) {
      TORCH_CHECK(false, "argument ", argument.name(), " of ", schema.name(),
                  " is no Tensor and cannot be given");
    } else if (next < call.input_count) {
      values.emplace_back(Wrap(call.inputs[next++], device));
    } else {
      TORCH_CHECK(argument.default_value().has_value(), kWrongInputs);
      values.push_back(*argument.default_value());
    }
  }
  TORCH_CHECK(next == call.input_count, kWrongInputs);
  return values;
}

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

// Tells the calls of a script, for as long as it runs on this thread, who answers them.
class RunningScript {
 public:
  RunningScript(Host* host, at::Device* device) : host_(running_host), device_(running_device) {
    running_host = host;
    running_device = device;
  }
  ~RunningScript() {
    running_host = host_;
    running_device = device_;
  }
  RunningScript(const RunningScript&) = delete;
  RunningScript& operator=(const RunningScript&) = delete;

 private:
  Host* host_;
  at::Device* device_;
};

class TorchScript : public backend::Program {
 public:
  TorchScript(std::shared_ptr<torch::jit::CompilationUnit> unit, at::Device device)
      : unit_(std::move(unit)), device_(device) {}
  void Run(const Call& call, Sink& out) noexcept override {
    Guard(out, [&] {
      PrepareThread();
      torch::NoGradGuard no_gradients;
      std::string name = ToString(call.function);
      torch::jit::Function* function = unit_->find_function(c10::QualifiedName(name));
      TORCH_CHECK(function != nullptr, "Function ", name, " does not exist in the given script.");
      RunningScript running(call.host, &device_);
      EmitAll((*function)(Bind(function->getSchema(), 0, call, device_)), call.output_count, out);
    });
  }
  void Inputs(Sink&) const noexcept override {}
  uint64_t MemoryBytes() const noexcept override { return 0; }
  void CheckEntryPoint(const std::string& name) const {
    const torch::jit::Function* function = unit_->find_function(c10::QualifiedName(name));
    TORCH_CHECK(function != nullptr, "Function ", name, " does not exist in the given script.");
    const auto& arguments = function->getSchema().arguments();
    TORCH_CHECK(arguments.size() == 3, "Wrong number of inputs in function ", name, ". Expected 3 but was ",
                arguments.size());
    bool fits = IsListOf(arguments[0], c10::TypeKind::TensorType) &&
                IsListOf(arguments[1], c10::TypeKind::StringType) &&
                IsListOf(arguments[2], c10::TypeKind::StringType);
    TORCH_CHECK(fits, "Wrong inputs type in function ", name, ". Expected signature similar to: def ", name,
                "(tensors: List[Tensor], keys: List[str], args: List[str])");
  }

 private:
  std::shared_ptr<torch::jit::CompilationUnit> unit_;
  at::Device device_;
};

// ---- loading ----------------------------------------------------------------------------------------------

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
      RegisterScriptCalls();
      auto unit = std::make_shared<torch::jit::CompilationUnit>();
      unit->define(std::nullopt, ToString(source.text) + "\n", std::make_shared<ScriptNames>(), nullptr);
      auto script = std::make_unique<TorchScript>(std::move(unit), ToDevice(source.device));
      for (size_t i = 0; i < source.entry_point_count; ++i)
        script->CheckEntryPoint(ToString(source.entry_points[i]));
      program = script.release();
    });
    return program;
  }
};

backend::Backend* Open(const backend::Threads& wanted, Sink& out) {
  static auto* opened =
      new TorchBackend;  // never deleted: workers may still be inside when the process leaves
  bool ready = Guard(out, [&] {
    threads = wanted;
    if (wanted.inter_op > 0) at::set_num_interop_threads(wanted.inter_op);
  });
  return ready ? opened : nullptr;
}

}  // namespace
}  // namespace penstock

extern "C" __attribute__((visibility("default"))) const penstock::backend::Entry* penstock_backend() {
  static const penstock::backend::Entry entry{penstock::backend::kInterfaceVersion, TORCH_VERSION,
                                              penstock::Open};
  return &entry;
}

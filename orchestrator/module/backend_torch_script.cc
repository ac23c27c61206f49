#include "backend_torch_script.h"

#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/jit.h>
#include <torch/script.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "backend_torch_bounds.h"
#include "backend_torch_containers.h"
#include "backend_torch_refused.h"
#include "backend_torch_source.h"
#include "backend_torch_values.h"

namespace penstock {
namespace {

using backend::Bytes;
using backend::Call;
using backend::Host;
using backend::Sink;
using backend::TensorView;
using c10::IValue;
using torch::jit::Stack;

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
    tensors.push_back(Wrap(view, at::Device(at::kCPU), true).clone().to(*running_device));
  }
  void Keep(const TensorView&, backend::Resident* array) override {
    std::unique_ptr<backend::Resident> owned(array);
    owned->ToHost(*this);
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

// As a model may have it: aligned, and its to write to.
at::Tensor OfItsOwn(const at::Tensor& tensor) {
  at::Tensor plain = Plain(tensor);
  return plain.is_alias_of(tensor) ? plain.clone(at::MemoryFormat::Contiguous) : plain;
}

void ExecuteModel(Stack& stack) {
  int64_t output_count = torch::jit::pop(stack).toInt();
  std::vector<at::Tensor> inputs = torch::jit::pop(stack).toTensorVector();
  std::string key = torch::jit::pop(stack).toStringRef();
  TORCH_CHECK(running_host != nullptr && output_count > 0,
              "redisAI.model_execute needs a positive number of outputs, inside a running script");
  std::vector<TensorView> views;
  for (at::Tensor& tensor : inputs) {
    tensor = OfItsOwn(tensor);
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
      RunningCall running_call(call);
      std::string name = ToString(call.function);
      torch::jit::Function* function = unit_->find_function(c10::QualifiedName(name));
      TORCH_CHECK(function != nullptr, "Function ", name, " does not exist in the given script.");
      RunningScript running(call.host, &device_);
      EmitAll((*function)(Bind(function->getSchema(), 0, call, device_, true)), call, out);
    });
  }
  void Inputs(Sink&) const noexcept override {}
  void Outputs(Sink&) const noexcept override {}
  bool StraightLine() const noexcept override { return false; }
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

}  // namespace

std::unique_ptr<backend::Program> CompileTorchScript(const backend::ScriptSource& source) {
  RegisterScriptCalls();
  std::string text = ToString(source.text) + "\n";
  RefuseDeepCode("the script", text);
  auto unit = std::make_shared<torch::jit::CompilationUnit>();
  unit->define(std::nullopt, text, std::make_shared<ScriptNames>(), nullptr);
  RefuseOperators(*unit);
  GuardLoops(*unit);
  GuardContainers(*unit);
  auto script = std::make_unique<TorchScript>(std::move(unit), ToDevice(source.device));
  for (size_t i = 0; i < source.entry_point_count; ++i)
    script->CheckEntryPoint(ToString(source.entry_points[i]));
  return script;
}

}  // namespace penstock

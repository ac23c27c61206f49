#include "backend_torch_values.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/types.h>
#include <torch/version.h>

#include <algorithm>

#include "backend_torch_resident.h"

namespace penstock {
namespace {

using backend::Bytes;
using backend::Call;
using backend::Sink;
using backend::TensorView;
using c10::IValue;

// A text that clients of RedisAI know.
constexpr char kWrongOutputs[] = "Number of keys given as OUTPUTS here does not match model definition";

backend::Settings settings{};

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
    case DataType::kFloat16:
      return at::kHalf;
    case DataType::kBfloat16:
      return at::kBFloat16;
    case DataType::kUint32:
      return at::ScalarType::UInt32;
    case DataType::kUint64:
      return at::ScalarType::UInt64;
    case DataType::kComplex64:
      return at::kComplexFloat;
    case DataType::kComplex128:
      return at::kComplexDouble;
    case DataType::kString:
      break;
  }
  TORCH_CHECK(false, "a tensor of strings cannot be given to torch");
}

void CheckForm(const at::Tensor& tensor) {
  TORCH_CHECK(!tensor.is_nested(), "a nested tensor cannot be stored as a tensor");
  TORCH_CHECK(tensor.layout() == at::kStrided, "a tensor of layout ", tensor.layout(),
              " cannot be stored as a tensor: let the model answer with its to_dense()");
  TORCH_CHECK(!tensor.is_meta(), "a tensor of the device meta has no values to be stored");
}

// Scalars leave as shape (1,), because SmartRedis refuses tensors of rank 0.
void Emit(const at::Tensor& output, Sink& out) {
  at::Tensor tensor = Plain(output);
  if (tensor.dim() == 0) tensor = tensor.reshape({1});
  out.Tensor({FromTorch(tensor.scalar_type()), tensor.sizes().data(), static_cast<size_t>(tensor.dim()),
              tensor.data_ptr(), static_cast<size_t>(tensor.nbytes())});
}

// Memory of the core's, which is gone after the run.
bool IsBorrowed(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.storage().data_ptr().get_context() == nullptr;
}

// The same, to be taken by the next step where it is.
void KeepArray(const at::Tensor& output, Sink& out) {
  CheckForm(output);
  at::Tensor tensor = output.resolve_conj().resolve_neg().contiguous();
  if (tensor.dim() == 0) tensor = tensor.reshape({1});
  if (IsBorrowed(tensor)) tensor = tensor.clone();
  TensorView shape{FromTorch(tensor.scalar_type()), tensor.sizes().data(), static_cast<size_t>(tensor.dim()),
                   nullptr, static_cast<size_t>(tensor.nbytes())};
  out.Keep(shape, new TorchResident(tensor));
}

void Collect(const IValue& value, std::vector<at::Tensor>* tensors, int depth = 0) {
  constexpr int kDeepest = 1000;
  TORCH_CHECK(depth < kDeepest, "an output is nested more than ", kDeepest, " deep");
  if (value.isTensor()) return tensors->push_back(value.toTensor());
  if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) tensors->push_back(tensor);
    return;
  }
  TORCH_CHECK(value.isTuple() || value.isList(),
              "an output is neither a tensor nor a list or tuple of tensors but ", value.tagKind());
  if (value.isList()) {
    for (const IValue& entry : value.toListRef()) Collect(entry, tensors, depth + 1);
    return;
  }
  for (const IValue& entry : value.toTupleRef().elements()) Collect(entry, tensors, depth + 1);
}

bool IsTensor(const c10::Argument& argument) { return argument.type()->kind() == c10::TypeKind::TensorType; }

}  // namespace

at::Tensor Plain(const at::Tensor& tensor) {
  CheckForm(tensor);
  return tensor.to(at::kCPU).resolve_conj().resolve_neg().contiguous();
}

void TellError(Sink& out) noexcept {
  std::string text;
  try {
    throw;
  } catch (const c10::Error& error) {
    text = OneLine(error.what_without_backtrace());
  } catch (const std::exception& error) {
    text = OneLine(error.what());
  } catch (...) {
    text = "torch threw something that is no exception";
  }
  out.Error(ToBytes(ErrorFirst(text)));
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
    case at::kHalf:
      return DataType::kFloat16;
    case at::kBFloat16:
      return DataType::kBfloat16;
    case at::ScalarType::UInt32:
      return DataType::kUint32;
    case at::ScalarType::UInt64:
      return DataType::kUint64;
    case at::kComplexFloat:
      return DataType::kComplex64;
    case at::kComplexDouble:
      return DataType::kComplex128;
    default:
      TORCH_CHECK(false, "an output of type ", at::toString(type), " cannot be stored as a tensor");
  }
}

void TorchResident::ToHost(Sink& out) const noexcept {
  Guard(out, [&] { Emit(array_, out); });
}

at::Tensor Wrap(const TensorView& view, const at::Device& device, bool written) {
  if (view.resident != nullptr) {
    at::Tensor array = static_cast<const TorchResident*>(view.resident)->array().to(device);
    return written ? array.clone() : array;
  }
  auto tensor = torch::from_blob(view.data, at::IntArrayRef(view.dims, view.rank), ToTorch(view.type));
  return device.is_cpu() ? tensor : tensor.to(device);
}

void EmitAll(const IValue& result, const Call& call, Sink& out) {
  std::vector<at::Tensor> tensors;
  if (!result.isNone()) Collect(result, &tensors);
  TORCH_CHECK(tensors.size() == call.output_count, kWrongOutputs);
  for (const at::Tensor& tensor : tensors) {
    if (call.keep) KeepArray(tensor, out);
    if (!call.keep) Emit(tensor, out);
  }
}

bool IsListOf(const c10::Argument& argument, c10::TypeKind kind) {
  auto list = argument.type()->cast<c10::ListType>();
  return list != nullptr && list->getElementType()->kind() == kind;
}

std::vector<IValue> Bind(const c10::FunctionSchema& schema, size_t first, const Call& call,
                         const at::Device& device, bool written) {
  std::vector<IValue> values;
  size_t next = 0;
  size_t string_lists = 0;
  for (size_t i = first; i < schema.arguments().size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    if (IsListOf(argument, c10::TypeKind::TensorType)) {
      c10::List<at::Tensor> rest;
      while (next < call.input_count) rest.push_back(Wrap(call.inputs[next++], device, written));
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
      values.emplace_back(Wrap(call.inputs[next++], device, written));
    } else {
      TORCH_CHECK(argument.default_value().has_value(), kWrongInputs);
      values.push_back(*argument.default_value());
    }
  }
  TORCH_CHECK(next == call.input_count, kWrongInputs);
  return values;
}

// Of the indices of a sparse array torch checks by itself only those that Python gives it.
void ApplySettings(const backend::Settings& wanted) {
  settings = wanted;
  at::globalContext().setCheckSparseTensorInvariants(true);
}

void PrepareThread() {
  thread_local bool prepared = false;
  if (prepared) return;
  at::set_num_threads(settings.intra_op_threads > 0 ? settings.intra_op_threads : 1);
  prepared = true;
}

at::Device ToDevice(Bytes name) {
  std::string text = ToString(name);
  if (text.rfind("GPU", 0) != 0) return at::Device(at::kCPU);
  size_t colon = text.find(':');
  int index = colon == std::string::npos ? 0 : std::stoi(text.substr(colon + 1));
  TORCH_CHECK(at::hasCUDA() || at::hasXPU(), "device ", text, " was asked for, but torch ", TORCH_VERSION,
              " finds no GPU here");
  at::DeviceType type = at::hasCUDA() ? at::kCUDA : at::kXPU;
  int there = c10::impl::getDeviceGuardImpl(type)->deviceCount();
  TORCH_CHECK(index < there, "device ", text, " was asked for, but torch finds ", there, " GPUs");
  return at::Device(type, static_cast<at::DeviceIndex>(index));
}

}  // namespace penstock

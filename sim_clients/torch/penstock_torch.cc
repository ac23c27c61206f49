// A model of the database in this process: fetched by libpenstock, run by libtorch.
//
// No exception leaves: each call of the interface turns what was thrown into a status and a text. Nothing but
// C crosses the border of the library, so that a solver may have been compiled with another C++ ABI.

#include "penstock_torch.h"

#include <ATen/Parallel.h>
#include <torch/script.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// A look that failed is followed by so many times its own length without one.
constexpr double kFailedLookRest = 20;
constexpr char kCause[] = "RuntimeError: ";

struct Failure {
  int status;
  std::string text;
};

// torch's reason, without the lines of code around it.
std::string Reason(std::string text) {
  size_t cause = text.rfind(kCause);
  if (cause != std::string::npos) text = text.substr(cause + sizeof kCause - 1);
  return text.substr(0, text.find('\n'));
}

// ---- Arrays

c10::ScalarType TypeOf(penstock_dtype dtype) {
  switch (dtype) {
    case PENSTOCK_FLOAT64:
      return at::kDouble;
    case PENSTOCK_FLOAT32:
      return at::kFloat;
    case PENSTOCK_INT64:
      return at::kLong;
    case PENSTOCK_INT32:
      return at::kInt;
    case PENSTOCK_INT16:
      return at::kShort;
    case PENSTOCK_INT8:
      return at::kChar;
    case PENSTOCK_UINT8:
      return at::kByte;
    case PENSTOCK_BOOL:
      return at::kBool;
    case PENSTOCK_COMPLEX64:
      return at::kComplexFloat;
    case PENSTOCK_COMPLEX128:
      return at::kComplexDouble;
    default:
      throw Failure{PENSTOCK_TENSOR, "torch is not given arrays of this dtype"};
  }
}

penstock_dtype TypeOf(c10::ScalarType type) {
  for (int dtype = PENSTOCK_FLOAT64; dtype <= PENSTOCK_COMPLEX128; ++dtype) {
    const char* name = penstock_dtype_name(static_cast<penstock_dtype>(dtype));
    if (name == nullptr || dtype == PENSTOCK_UINT16 || dtype == PENSTOCK_FLOAT16 ||
        dtype == PENSTOCK_BFLOAT16 || dtype == PENSTOCK_UINT32 || dtype == PENSTOCK_UINT64)
      continue;
    if (TypeOf(static_cast<penstock_dtype>(dtype)) == type) return static_cast<penstock_dtype>(dtype);
  }
  throw Failure{PENSTOCK_TENSOR, std::string("the model puts out ") + c10::toString(type) +
                                     ", which this library does not give"};
}

std::vector<int64_t> DimsOf(const penstock_array& array) { return {array.dims, array.dims + array.rank}; }

std::string Describe(penstock_dtype dtype, const std::vector<int64_t>& dims) {
  std::ostringstream text;
  text << penstock_dtype_name(dtype) << " (";
  for (size_t i = 0; i < dims.size(); ++i) text << (i > 0 ? ", " : "") << dims[i];
  text << (dims.size() == 1 ? ",)" : ")");
  return text.str();
}

// Copy between an array with gaps, or in another order, and plain memory; returns where the latter goes on.
char* CopyDimension(const penstock_array& array, char* at, char* plain, int dimension, size_t item, bool in) {
  if (dimension == array.rank) {
    std::memcpy(in ? plain : at, in ? at : plain, item);
    return plain + item;
  }
  for (int64_t i = 0; i < array.dims[dimension]; ++i)
    plain = CopyDimension(array, at + i * array.strides[dimension], plain, dimension + 1, item, in);
  return plain;
}

void Copy(const penstock_array& array, const at::Tensor& plain, bool in) {
  auto* memory = static_cast<char*>(plain.data_ptr());
  auto* data = static_cast<char*>(array.data);
  if (array.strides != nullptr)
    CopyDimension(array, data, memory, 0, plain.element_size(), in);
  else
    std::memcpy(in ? memory : data, in ? data : memory, plain.nbytes());
}

// torch's memory is aligned as the database's, on which the last bit may depend.
at::Tensor TensorOf(const penstock_array& array) {
  at::Tensor tensor = at::empty(DimsOf(array), TypeOf(array.dtype));
  Copy(array, tensor, true);
  return tensor;
}

std::vector<at::Tensor> TensorsOf(const c10::IValue& answer) {
  if (answer.isTensor()) return {answer.toTensor()};
  if (answer.isTensorList()) return answer.toTensorVector();
  if (!answer.isTuple())
    throw Failure{PENSTOCK_INFERENCE, "it puts out " + answer.tagKind() + ", no tensors"};
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& element : answer.toTupleRef().elements()) {
    if (!element.isTensor())
      throw Failure{PENSTOCK_INFERENCE, "it puts out " + element.tagKind() + ", no tensor"};
    tensors.push_back(element.toTensor());
  }
  return tensors;
}

void Give(const at::Tensor& answer, const penstock_array& array, int position) {
  at::Tensor plain = answer.detach().cpu().contiguous();
  penstock_dtype dtype = TypeOf(plain.scalar_type());
  std::vector<int64_t> dims = plain.sizes().vec();
  if (dtype != array.dtype || dims != DimsOf(array))
    throw Failure{PENSTOCK_TENSOR, "output " + std::to_string(position) + ": the model puts out " +
                                       Describe(dtype, dims) + ", the array to be filled is " +
                                       Describe(array.dtype, DimsOf(array))};
  Copy(array, plain, false);
}

// One thread, as in the database; the solver's own number of threads is put back.
class OneThread {
 public:
  OneThread() : before_(at::get_num_threads()) {
    if (before_ != 1) at::set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) at::set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

thread_local std::string failed_open;

}  // namespace

// ---- The model

struct penstock_local_model {
  penstock_client* client = nullptr;
  std::string name;
  double follow_every = 0;
  int64_t version = 0;
  torch::jit::Module module;
  Clock::time_point looked_at;
  double rest = 0;      // s until the next look
  Failure told{0, ""};  // why the last look failed
  Failure unloadable{0, ""};
  int64_t unloadable_version = 0;
  std::string error;

  // A version without a number is no key of the database's.
  std::string Key() const { return "'" + name + "@" + std::to_string(version) + "'"; }

  void CheckClient(int status) const {
    if (status) throw Failure{status, penstock_error(client)};
  }

  void Load(int64_t live) {
    if (live == unloadable_version) throw unloadable;  // a version never changes
    std::string archive;
    CheckClient(penstock_get_model(
        client, name.c_str(), live,
        [](void* text, const char*, const penstock_info* info) -> void* {
          try {
            static_cast<std::string*>(text)->resize(info->nbytes);
            return static_cast<std::string*>(text)->data();
          } catch (const std::bad_alloc&) {
            return nullptr;
          }
        },
        &archive));
    try {
      std::istringstream stream(archive);
      torch::jit::Module loaded = torch::jit::load(stream, c10::Device(c10::kCPU));
      loaded.eval();
      module = std::move(loaded);
    } catch (const std::exception& error) {
      unloadable = Failure{PENSTOCK_INFERENCE,
                           "inference with the model '" + name + "@" + std::to_string(live) +
                               "' failed: torch " TORCH_VERSION " cannot load it: " + Reason(error.what())};
      unloadable_version = live;
      throw unloadable;
    }
    version = live;
  }

  void Look() {
    int64_t live = 0;
    CheckClient(penstock_model_version(client, name.c_str(), &live));
    if (live != version) Load(live);
    Looked(follow_every);
    told = Failure{0, ""};
  }

  void Looked(double and_rest) {
    looked_at = Clock::now();
    rest = and_rest;
  }

  // What fails is told once, and what is loaded goes on answering; a database that has gone is told by the
  // text alone.
  void Follow() {
    Clock::time_point begin = Clock::now();
    if (std::chrono::duration<double>(begin - looked_at).count() < rest) return;
    try {
      Look();
    } catch (const Failure& failure) {
      bool gone = failure.status == PENSTOCK_UNAVAILABLE;
      if (!gone && failure.status != PENSTOCK_INFERENCE && failure.status != PENSTOCK_MODEL_MISSING) throw;
      double took = std::chrono::duration<double>(Clock::now() - begin).count();
      Looked(std::max(follow_every, kFailedLookRest * took));
      bool again = failure.status == told.status && failure.text == told.text;
      told = failure;
      if (!gone && !again) throw;
    }
  }

  void Run(const penstock_array* inputs, int n_inputs, const penstock_array* outputs, int n_outputs) {
    if (n_inputs < 1 || inputs == nullptr)
      throw Failure{PENSTOCK_TENSOR, "tensor '" + name + "': a model needs at least one input"};
    if (n_outputs < 1 || outputs == nullptr)
      throw Failure{PENSTOCK_TENSOR, "tensor '" + name + "': a model has at least one output"};
    Follow();
    torch::NoGradGuard no_gradients;
    OneThread one_thread;
    std::vector<c10::IValue> given;
    for (int i = 0; i < n_inputs; ++i) given.emplace_back(TensorOf(inputs[i]));
    std::vector<at::Tensor> answers = TensorsOf(module.forward(std::move(given)));
    if (answers.size() != static_cast<size_t>(n_outputs))
      throw Failure{PENSTOCK_INFERENCE, "it has " + std::to_string(answers.size()) + " outputs, and " +
                                            std::to_string(n_outputs) + " were asked for"};
    for (int i = 0; i < n_outputs; ++i) Give(answers[static_cast<size_t>(i)], outputs[i], i);
  }
};

namespace {

// Return 0, or the status of what was thrown, whose text is set.
template <class Work>
int Guarded(std::string* text, Work work) {
  try {
    work();
    text->clear();
    return 0;
  } catch (const Failure& failure) {
    *text = failure.text;
    return failure.status;
  } catch (const std::bad_alloc&) {
    *text = "no memory for it";
    return PENSTOCK_MEMORY;
  } catch (const std::exception& error) {
    *text = Reason(error.what());
    return PENSTOCK_INFERENCE;
  }
}

std::string Given(const penstock_array* inputs, int n_inputs) {
  std::string text;
  for (int i = 0; i < n_inputs; ++i)
    text += (i > 0 ? ", " : "") + Describe(inputs[i].dtype, DimsOf(inputs[i]));
  return text;
}

}  // namespace

int penstock_local_open(penstock_client* client, const char* name, double follow_every, double wait,
                        penstock_local_model** model) {
  *model = nullptr;
  return Guarded(&failed_open, [&] {
    auto made = std::make_unique<penstock_local_model>();
    made->client = client;
    made->name = name;
    made->follow_every = follow_every;
    int64_t live = 0;
    int status = penstock_model_version(client, name, &live);
    if (status == PENSTOCK_MODEL_MISSING && wait > 0) {
      std::string missing = penstock_error(client);
      status = penstock_wait_model(client, name, 0, wait, &live);
      if (status == PENSTOCK_TIMED_OUT) throw Failure{PENSTOCK_MODEL_MISSING, missing};
    }
    made->CheckClient(status);
    made->Load(live);
    made->Looked(follow_every);
    *model = made.release();
  });
}

void penstock_local_close(penstock_local_model* model) { delete model; }

int penstock_local_run(penstock_local_model* model, const penstock_array* inputs, int n_inputs,
                       const penstock_array* outputs, int n_outputs) {
  int status = Guarded(&model->error, [&] { model->Run(inputs, n_inputs, outputs, n_outputs); });
  if (!status && model->told.status == PENSTOCK_UNAVAILABLE) model->error = model->told.text;
  if (status == PENSTOCK_INFERENCE && model->error.rfind("inference with", 0) != 0)
    model->error = "inference with the model " + model->Key() + " failed: " + model->error + "; given was " +
                   Given(inputs, n_inputs);
  return status;
}

int penstock_local_refresh(penstock_local_model* model) {
  return Guarded(&model->error, [&] { model->Look(); });
}

int64_t penstock_local_version(const penstock_local_model* model) { return model->version; }

const char* penstock_local_error(const penstock_local_model* model) {
  return model ? model->error.c_str() : failed_open.c_str();
}

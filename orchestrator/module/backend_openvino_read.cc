#include "backend_openvino_read.h"

#include <algorithm>
#include <istream>
#include <openvino/frontend/manager.hpp>
#include <openvino/op/constant.hpp>
#include <stdexcept>
#include <streambuf>
#include <string_view>

#include "backend_common.h"
#include "onnx_file.h"
#include "temporary_file.h"

namespace penstock {
namespace {

using backend::ModelSource;
using Places = std::vector<ov::frontend::Place::Ptr>;

// Bytes that are there, as a stream; nothing is copied.
class BytesBuffer : public std::streambuf {
 public:
  explicit BytesBuffer(std::string_view bytes) {
    char* start = const_cast<char*>(bytes.data());  // only read
    setg(start, start, start + bytes.size());
  }

 protected:
  pos_type seekoff(off_type offset, std::ios_base::seekdir from, std::ios_base::openmode) override {
    char* base = from == std::ios_base::beg ? eback() : from == std::ios_base::cur ? gptr() : egptr();
    if (offset < eback() - base || offset > egptr() - base) return pos_type(off_type(-1));
    setg(eback(), base + offset, egptr());
    return gptr() - eback();
  }
  pos_type seekpos(pos_type position, std::ios_base::openmode which) override {
    return seekoff(position, std::ios_base::beg, which);
  }
};

ov::frontend::FrontEnd::Ptr FrontEnd(const char* framework) {
  static auto* manager = new ov::frontend::FrontEndManager;  // never deleted: models keep what it opened
  return manager->load_by_framework(framework);
}

std::shared_ptr<ov::Model> ReadOnnx(const ModelSource& source) {
  std::string joined;
  std::string_view file = WholeFile(source, &joined);
  OnnxFacts facts = ReadOnnxFacts(file);
  if (!facts.has_graph) throw std::runtime_error("No graph was found in the protobuf.");
  if (facts.external_data) throw std::runtime_error("Initializer tensors with external data is not allowed.");
  BytesBuffer buffer(file);
  std::istream stream(&buffer);
  auto front = FrontEnd("onnx");
  auto model = front->load(static_cast<std::istream*>(&stream));
  if (model == nullptr) throw std::runtime_error("OpenVINO does not read this ONNX file");
  return front->convert(model);
}

// What is no file of its kind is said in the words that clients know, instead of OpenVINO's.
ov::frontend::InputModel::Ptr LoadFile(ov::frontend::FrontEnd& front, const TemporaryFile& file,
                                       const char* text) {
  ov::frontend::InputModel::Ptr model;
  try {
    model = front.load(file.path());
  } catch (const ov::Exception&) {
    throw std::runtime_error(text);
  }
  if (model == nullptr) throw std::runtime_error(text);
  return model;
}

std::shared_ptr<ov::Model> ReadTflite(const ModelSource& source) {
  constexpr char kNoModel[] = "Failed to load model from buffer";
  std::string joined;
  if (!IsTflite(WholeFile(source, &joined))) throw std::runtime_error(kNoModel);
  TemporaryFile file(source, ".tflite");
  auto front = FrontEnd("tflite");
  return front->convert(LoadFile(*front, file, kNoModel));
}

void CheckGraphDef(const ModelSource& source) {
  std::string joined;
  switch (ReadTensorflowKind(WholeFile(source, &joined))) {
    case TensorflowFile::kGraphDef:
      return;
    case TensorflowFile::kSavedModel:
    case TensorflowFile::kArchive:
      throw std::runtime_error(
          "this is a SavedModel or an archive, whose weights are in other files: freeze it "
          "(convert_variables_to_constants_v2 of tensorflow.python.framework.convert_to_constants) and "
          "store the GraphDef, or convert it to ONNX");
    case TensorflowFile::kOther:
      throw std::runtime_error("Invalid GraphDef");
  }
}

// By the name of the operation, as TensorFlow has it, or by that of its tensor.
Places FindPlaces(const ov::frontend::InputModel& model, const backend::Bytes* names, size_t count,
                  const char* what, const char* end) {
  Places places;
  for (size_t i = 0; i < count; ++i) {
    std::string name = ToString(names[i]);
    ov::frontend::Place::Ptr place = model.get_place_by_tensor_name(name);
    if (place == nullptr) place = model.get_place_by_tensor_name(name + ":0");
    if (place == nullptr)
      throw std::runtime_error(std::string(what) + " node named \"" + name + "\" not found in TF graph" +
                               end);
    places.push_back(place);
  }
  return places;
}

std::shared_ptr<ov::Model> ReadTensorflow(const ModelSource& source) {
  CheckGraphDef(source);
  TemporaryFile file(source, ".pb");
  auto front = FrontEnd("tf");
  auto model = LoadFile(*front, file, "Invalid GraphDef");
  Places inputs = FindPlaces(*model, source.inputs, source.input_count, "Input", ".");
  Places outputs = FindPlaces(*model, source.outputs, source.output_count, "Output", "");
  model->override_all_outputs(outputs);
  model->override_all_inputs(inputs);
  return front->convert(model);
}

using Ports = std::vector<ov::Output<const ov::Node>>;

bool IsCalled(const ov::Output<const ov::Node>& port, const std::string& name) {
  const auto& names = port.get_names();
  const std::string& node = port.get_node()->get_friendly_name();
  return names.count(name) > 0 || names.count(name + ":0") > 0 || node == name || node == name + ":0";
}

std::string NameOf(const ov::Output<const ov::Node>& port) {
  if (port.get_names().empty()) return port.get_node()->get_friendly_name();
  return *std::min_element(port.get_names().begin(), port.get_names().end());
}

// In the order in which they were named; as the model has them when it names them itself.
void Order(const Ports& all, const backend::Bytes* given, size_t count, const char* what, Ports* ports,
           std::vector<std::string>* names) {
  if (count == 0) *ports = all;
  for (const auto& port : *ports) names->push_back(NameOf(port));
  for (size_t i = 0; i < count; ++i) {
    std::string name = ToString(given[i]);
    auto found = std::find_if(all.begin(), all.end(), [&](auto& port) { return IsCalled(port, name); });
    if (found == all.end())
      throw std::runtime_error(std::string(what) + " node named \"" + name + "\" is no part of the TF graph");
    ports->push_back(*found);
    names->push_back(name);
  }
}

// Operations whose cost or result's size depends on values.
constexpr const char* kCrooked[] = {"Loop",        "TensorIterator", "If",         "Range",
                                    "NonZero",     "OneHot",         "Unique",     "NonMaxSuppression",
                                    "Interpolate", "RandomUniform",  "Multinomial"};
// The same, unless all inputs but the first are constants.
constexpr const char* kSizedByInputs[] = {"Broadcast", "Tile", "Pad"};

template <size_t kCount>
bool IsOneOf(const std::string& name, const char* const (&names)[kCount]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool IsCrooked(const ov::Node& node) {
  std::string name = node.get_type_name();
  if (IsOneOf(name, kCrooked)) return true;
  if (!IsOneOf(name, kSizedByInputs)) return false;
  for (size_t i = 1; i < node.get_input_size(); ++i)
    if (dynamic_cast<const ov::op::v0::Constant*>(node.get_input_node_ptr(i)) == nullptr) return true;
  return false;
}

}  // namespace

ReadModel ReadAnyModel(const ModelSource& source) {
  ReadModel read;
  if (source.kind == BackendKind::kOnnx) read.model = ReadOnnx(source);
  if (source.kind == BackendKind::kTflite) read.model = ReadTflite(source);
  if (source.kind == BackendKind::kTensorflow) read.model = ReadTensorflow(source);
  if (read.model == nullptr) throw std::runtime_error("OpenVINO does not run models of this backend");
  const ov::Model& model = *read.model;
  Order(model.inputs(), source.inputs, source.input_count, "Input", &read.inputs, &read.input_names);
  Order(model.outputs(), source.outputs, source.output_count, "Output", &read.outputs, &read.output_names);
  return read;
}

bool IsStraightLine(const ov::Model& model) {
  auto nodes = model.get_ordered_ops();
  return std::none_of(nodes.begin(), nodes.end(), [](const auto& node) { return IsCrooked(*node); });
}

}  // namespace penstock

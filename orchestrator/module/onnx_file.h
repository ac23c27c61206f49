// What an ONNX or TensorFlow file says of itself, read from its bytes before a library is let loose on it.
//
// DESIGN
//   Both are protobuf messages. Only the few fields that matter are looked at, by their numbers; nothing is
//   copied, and every length is checked, because whoever stores a model may send anything. No library is
//   asked: OpenVINO and onnxruntime then refuse the same files with the same words.
#pragma once

#include <string_view>

namespace penstock {

struct OnnxFacts {
  bool has_graph = false;
  bool external_data =
      false;  // weights in files beside it: files of the server's host, which no client may name
  bool straight_line = true;  // neither loops nor choices nor sizes that depend on values
};
OnnxFacts ReadOnnxFacts(std::string_view file);

enum class TensorflowFile { kGraphDef, kSavedModel, kArchive, kOther };
TensorflowFile ReadTensorflowKind(std::string_view file);

bool IsTflite(std::string_view file);

}  // namespace penstock

// What the backends other than torch share: names, errors of one line, and the checks of what a run is given.
//
// DESIGN
//   OpenVINO and onnxruntime must refuse the same inputs with the same words, those that clients of RedisAI
//   know. So neither is asked: a run's inputs are checked here against what the model says of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend_bytes.h"

namespace penstock {

/// On one line, for a library's message may have many.
std::string OneLine(const std::string& text);

/// Runs `work`; whatever it throws ends up in `out`.
template <class Work>
bool Guarded(backend::Sink& out, Work work) noexcept {
  std::string text;
  try {
    work();
    return true;
  } catch (const std::exception& error) {
    text = OneLine(error.what());
  } catch (...) {
    text = "the library threw something that is no exception";
  }
  out.Error(ToBytes(text));
  return false;
}

/// One input as a model describes it.
struct InputSpec {
  std::string name;
  std::optional<DataType> type;               // none: it takes what no tensor here can be
  std::optional<std::vector<int64_t>> shape;  // none: of any rank; -1: any number
};

/// Throws the text for the client when a run does not fit.
void CheckRun(const std::vector<InputSpec>& inputs, size_t output_count, const backend::Call& call);

/// The pieces of a model file in one; `joined` holds them when they were several.
std::string_view WholeFile(const backend::ModelSource& source, std::string* joined);

}  // namespace penstock

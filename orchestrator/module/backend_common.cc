#include "backend_common.h"

#include <cctype>
#include <stdexcept>
#include <string_view>

namespace penstock {
namespace {

using backend::Call;
using backend::TensorView;

void CheckShape(const InputSpec& input, const TensorView& given) {
  if (!input.shape) return;
  const std::vector<int64_t>& wanted = *input.shape;
  const std::string way_out = "Please fix either the inputs or the model.";
  if (wanted.size() != given.rank) {
    throw std::runtime_error("Invalid rank for input: " + input.name + " Got: " + std::to_string(given.rank) +
                             " Expected: " + std::to_string(wanted.size()) + " " + way_out);
  }
  std::string wrong;
  for (size_t i = 0; i < given.rank; ++i) {
    if (wanted[i] < 0 || wanted[i] == given.dims[i]) continue;
    wrong += "  index: " + std::to_string(i) + " Got: " + std::to_string(given.dims[i]) +
             " Expected: " + std::to_string(wanted[i]);
  }
  if (wrong.empty()) return;
  throw std::runtime_error("Got invalid dimensions for input: " + input.name + " for the following indices" +
                           wrong + "  " + way_out);
}

}  // namespace

std::string OneLine(const std::string& text) {
  std::string line;
  for (char c : text) line += std::iscntrl(static_cast<unsigned char>(c)) != 0 ? ' ' : c;
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

void CheckRun(const std::vector<InputSpec>& inputs, size_t output_count, const Call& call) {
  if (inputs.size() != call.input_count)
    throw std::runtime_error("Number of keys given as INPUTS here does not match model definition");
  if (output_count != call.output_count)
    throw std::runtime_error("Number of keys given as OUTPUTS here does not match model definition");
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].type != call.inputs[i].type)
      throw std::runtime_error("Input tensor type doesn't match the type expected by the model definition");
    CheckShape(inputs[i], call.inputs[i]);
  }
}

std::string_view WholeFile(const backend::ModelSource& source, std::string* joined) {
  if (source.piece_count == 1) return {source.pieces[0].data, source.pieces[0].size};
  for (size_t i = 0; i < source.piece_count; ++i)
    joined->append(source.pieces[i].data, source.pieces[i].size);
  return *joined;
}

}  // namespace penstock

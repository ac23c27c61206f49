// VALUES of a tensor: any words are taken or refused; what was taken can be read back, and taken again.
#include <cstdio>

#include "arguments.h"
#include "input_words.h"
#include "tensor_values.h"

namespace penstock::fuzz {
namespace {

constexpr size_t kMostElements = 4096;  // so that a word cannot ask for all memory

std::vector<std::string> Written(const Tensor& tensor) {
  std::vector<std::string> words;
  if (tensor.type() == DataType::kString) {
    for (std::string_view text : StringsOf(tensor)) words.emplace_back(text);
    return words;
  }
  size_t count = *ElementCount(tensor.dims());
  for (size_t i = 0; i < count; ++i) {
    auto number = NumberAt(tensor, i);
    if (auto* integer = std::get_if<int64_t>(&number)) words.push_back(std::to_string(*integer));
    if (auto* text = std::get_if<std::string>(&number)) words.push_back(*text);
    if (auto* real = std::get_if<double>(&number)) {
      char digits[64];
      std::snprintf(digits, sizeof(digits), "%.17g", *real);
      words.emplace_back(digits);
    }
  }
  return words;
}

void Check(DataType type, const std::vector<int64_t>& dims, const std::vector<std::string_view>& values) {
  auto tensor = TensorFromValues(type, dims, values);
  if (!tensor.ok()) return Require(!tensor.status().text().empty(), "an error says what is wrong");
  Require((*tensor)->dims() == dims, "the shape is the one that was asked for");
  auto words = Written(**tensor);
  auto again = TensorFromValues(type, dims, {words.begin(), words.end()});
  if (!again.ok()) std::cerr << again.status().text() << "\n";
  Require(again.ok(), "what was read back is taken again");
  Require(Written(**again) == words, "and is the same");
}

// TYPE, how many dimensions, those, values.
void Run(const std::vector<std::string_view>& words) {
  if (words.size() < 2) return;
  auto type = ParseDataType(words[0]);
  auto rank = ParseInteger(words[1]);
  if (!type || !rank || *rank < 0 || static_cast<size_t>(*rank) > words.size() - 2) return;
  std::vector<int64_t> dims;
  size_t next = 2;
  for (int64_t i = 0; i < *rank; ++i) dims.push_back(ParseInteger(words[next++]).value_or(1));
  auto count = ElementCount(dims);
  if (count && *count > kMostElements) return;
  Check(*type, dims, {words.begin() + static_cast<std::ptrdiff_t>(next), words.end()});
}

}  // namespace
}  // namespace penstock::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  penstock::fuzz::Run(penstock::fuzz::SplitLines(data, size));
  return 0;
}

#include "arguments.h"

#include <algorithm>
#include <charconv>

namespace penstock {
namespace {

char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

template <class Number>
std::optional<Number> Parse(std::string_view text) {
  Number value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Where the imaginary part's sign is: the last one that belongs to no exponent, else the beginning.
size_t ImaginarySign(std::string_view text) {
  for (size_t i = text.size(); i-- > 1;) {
    bool sign = text[i] == '+' || text[i] == '-';
    if (sign && Upper(text[i - 1]) != 'E') return i;
  }
  return 0;
}

}  // namespace

bool EqualsAnyCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Upper(x) == Upper(y); });
}

std::string UpperCase(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(), Upper);
  return upper;
}

std::optional<int64_t> ParseInteger(std::string_view text) { return Parse<int64_t>(text); }

std::optional<uint64_t> ParseUnsigned(std::string_view text) { return Parse<uint64_t>(text); }

std::optional<double> ParseReal(std::string_view text) {
  if (text.size() > 1 && text.front() == '+' && text[1] != '-') text.remove_prefix(1);
  return Parse<double>(text);
}

std::optional<std::complex<double>> ParseComplex(std::string_view text) {
  if (text.size() > 2 && text.front() == '(' && text.back() == ')') text = text.substr(1, text.size() - 2);
  if (text.empty()) return std::nullopt;
  if (text.back() != 'j' && text.back() != 'J') return ParseReal(text);
  text.remove_suffix(1);
  size_t sign = ImaginarySign(text);
  auto real = sign == 0 ? 0.0 : ParseReal(text.substr(0, sign));
  auto imaginary = ParseReal(text.substr(sign));
  if (!real || !imaginary) return std::nullopt;
  return std::complex<double>(*real, *imaginary);
}

std::optional<std::string> ParseDevice(std::string_view text) {
  std::string device = UpperCase(text);
  if (device == "CPU" || device == "GPU") return device;
  bool known = device.rfind("CPU:", 0) == 0 || device.rfind("GPU:", 0) == 0;
  if (!known || device.size() > 7) return std::nullopt;
  bool digits = device.size() > 4 &&
                std::all_of(device.begin() + 4, device.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::optional(device) : std::nullopt;
}

Status WrongNumberOfArguments(std::string_view command) {
  return Status::Error("wrong number of arguments for '" + UpperCase(command) + "' command");
}

bool Arguments::Has(std::string_view keyword) const {
  for (size_t at = next_; at < words_.size(); ++at) {
    if (EqualsAnyCase(words_[at], keyword)) return true;
  }
  return false;
}

bool Arguments::Take(std::string_view keyword) {
  if (done() || !EqualsAnyCase(Peek(), keyword)) return false;
  ++next_;
  return true;
}

std::vector<size_t> Arguments::NextUntil(std::string_view keyword) {
  size_t end = next_;
  while (end < words_.size() && !EqualsAnyCase(words_[end], keyword)) ++end;
  return NextPositions(end - next_);
}

std::vector<size_t> Arguments::NextPositions(size_t count) {
  std::vector<size_t> positions(count);
  for (size_t& position : positions) position = next_++;
  return positions;
}

}  // namespace penstock

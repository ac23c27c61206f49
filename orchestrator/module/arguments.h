// Walks over the words of one command, from left to right. Knows no Redis, so parsers are tested without one.
#pragma once

#include <complex>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"

namespace penstock {

bool EqualsAnyCase(std::string_view a, std::string_view b);
std::string UpperCase(std::string_view text);
/// The whole text as a number, else none.
std::optional<int64_t> ParseInteger(std::string_view text);
std::optional<uint64_t> ParseUnsigned(std::string_view text);
std::optional<double> ParseReal(std::string_view text);
/// `1+2j`, `1`, `2j`, or one of these in parentheses, as Python writes it.
std::optional<std::complex<double>> ParseComplex(std::string_view text);
/// CPU, GPU, CPU:n or GPU:n in any case, returned in upper case.
std::optional<std::string> ParseDevice(std::string_view text);

/// The error for a command of that name.
Status WrongNumberOfArguments(std::string_view command);

class Arguments {
 public:
  /// `words[0]` is the command's name; the walk begins after it.
  explicit Arguments(std::vector<std::string_view> words) : words_(std::move(words)) {}

  bool done() const { return next_ >= words_.size(); }
  size_t left() const { return words_.size() - next_; }
  size_t size() const { return words_.size(); }
  size_t position() const { return next_; }
  std::string_view word(size_t position) const { return words_[position]; }
  std::string_view Peek() const { return words_[next_]; }
  std::string_view Next() { return words_[next_++]; }
  /// Whether `keyword` is among the words that are left.
  bool Has(std::string_view keyword) const;
  /// Steps over `keyword` when it is next.
  bool Take(std::string_view keyword);
  std::optional<int64_t> NextInteger() { return ParseInteger(Next()); }
  /// Steps over the words before `keyword`, or over all that are left, and returns their positions.
  std::vector<size_t> NextUntil(std::string_view keyword);
  /// Steps over `count` words and returns their positions.
  std::vector<size_t> NextPositions(size_t count);

 private:
  std::vector<std::string_view> words_;
  size_t next_ = 1;
};

}  // namespace penstock

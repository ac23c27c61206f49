#include "code_depth.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <string>
#include <vector>

namespace penstock {
namespace {

bool IsOneOf(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

class Counter {
 public:
  void Word(std::string_view word) {
    if (word == "def" || word == "class") branches_ = 0;
    if (IsOneOf(word, {"if", "elif", "else", "for", "while", "with", "return", "break", "continue"}))
      ++branches_;
    if (IsOneOf(word, {"if", "else", "and", "or", "not", "in", "is", "lambda", "await"})) ++levels_.back();
    Note();
  }
  void Sign(char sign) {
    switch (sign) {
      case '(':
      case '[':
      case '{':
        levels_.push_back(levels_.back() + 1);
        break;
      case ')':
      case ']':
      case '}':
        Close();
        break;
      case ',':
        levels_.back() = levels_.size() > 1 ? levels_[levels_.size() - 2] + 1 : 0;
        break;
      case '\n':
        if (levels_.size() == 1) levels_.back() = 0;
        break;
      default:
        if (std::ispunct(static_cast<unsigned char>(sign)) != 0) ++levels_.back();
    }
    Note();
  }
  size_t deepest() const { return deepest_; }

 private:
  // What is behind the bracket, as in f()()(), is around it.
  void Close() {
    if (levels_.size() == 1) return;
    levels_.pop_back();
    ++levels_.back();
  }
  void Note() { deepest_ = std::max(deepest_, levels_.back() + branches_); }

  std::vector<size_t> levels_{0};  // of each open bracket, those around it among them
  size_t branches_ = 0;
  size_t deepest_ = 0;
};

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// Where a text ends that begins here; one that is not closed in its line ends with that.
size_t EndOfText(std::string_view code, size_t start) {
  std::string_view quote = code.substr(start, 3);
  bool is_long = quote == "\"\"\"" || quote == "'''";
  if (!is_long) quote = code.substr(start, 1);
  for (size_t i = start + quote.size(); i < code.size(); ++i) {
    if (code[i] == '\\') {
      ++i;
    } else if (code.substr(i, quote.size()) == quote) {
      return i + quote.size();
    } else if (code[i] == '\n' && !is_long) {
      return i;
    }
  }
  return code.size();
}

// What torch skips. It reads the comments that name types.
bool IsComment(std::string_view rest) { return rest.starts_with('#') && !rest.starts_with("# type:"); }

// Part of a text: what stands between texts in a pickle is not.
bool IsText(char c) {
  return std::isprint(static_cast<unsigned char>(c)) != 0 || std::isspace(static_cast<unsigned char>(c)) != 0;
}

// Signs between two parts of an expression, which torch reads one after another.
bool Chains(char c) {
  constexpr std::string_view kNesting = "()[]{},'\"#_-~*\\";
  return std::ispunct(static_cast<unsigned char>(c)) != 0 && kNesting.find(c) == std::string_view::npos;
}

size_t TextDepth(std::string_view text) {
  constexpr size_t kLinksForALevel = 40;  // destroying a chain takes so much less of the stack
  std::string nested(text);
  auto links = static_cast<size_t>(std::count_if(text.begin(), text.end(), Chains));
  std::replace_if(nested.begin(), nested.end(), Chains, ' ');
  return std::max(CodeDepth(nested), links / kLinksForALevel);
}

}  // namespace

size_t PickleDepth(std::string_view pickle) {
  size_t deepest = 0;
  for (auto start = pickle.begin(); start != pickle.end();) {
    start = std::find_if(start, pickle.end(), IsText);
    auto end = std::find_if_not(start, pickle.end(), IsText);
    auto size = static_cast<size_t>(end - start);
    if (size > deepest) deepest = std::max(deepest, TextDepth({&*start, size}));
    start = end;
  }
  return deepest;
}

size_t CodeDepth(std::string_view code) {
  Counter counter;
  for (size_t i = 0; i < code.size();) {
    if (IsWord(code[i])) {
      size_t end = i;
      while (end < code.size() && IsWord(code[end])) ++end;
      counter.Word(code.substr(i, end - i));
      i = end;
    } else if (code[i] == '"' || code[i] == '\'') {
      i = EndOfText(code, i);
    } else if (IsComment(code.substr(i))) {
      i = std::min(code.find('\n', i), code.size());
    } else if (code.substr(i, 2) == "\\\n") {
      i += 2;  // the line goes on
    } else {
      counter.Sign(code[i++]);
    }
  }
  return counter.deepest();
}

}  // namespace penstock

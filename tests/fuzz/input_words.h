// A fuzzer's bytes as the words of a command: separated by newlines, so that the corpus is text.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <vector>

namespace penstock::fuzz {

inline std::vector<std::string_view> SplitLines(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::string_view> words;
  while (true) {
    size_t end = rest.find('\n');
    words.push_back(rest.substr(0, end));
    if (end == std::string_view::npos) return words;
    rest.remove_prefix(end + 1);
  }
}

inline void Require(bool condition, const char* what) {
  if (condition) return;
  std::cerr << "not true: " << what << "\n";
  std::abort();
}

}  // namespace penstock::fuzz

#include "instruction_set.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>
#include <vector>

namespace penstock {

std::string MissingInstructionSet(const std::string& wanted, const std::string& there) {
  const std::map<std::string, std::vector<std::string>> several = {
      {"AVX512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}},
      {"AVX2", {"avx2", "fma"}},
      {"SVE256", {"sve"}}};
  std::istringstream words(wanted);
  for (std::string word; words >> word;) {
    std::string lower = word;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    auto known = several.find(word);
    for (const std::string& flag : known == several.end() ? std::vector<std::string>{lower} : known->second) {
      if (there.find(" " + flag + " ") == std::string::npos) return word;
    }
  }
  return "";
}

}  // namespace penstock

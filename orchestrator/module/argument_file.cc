#include "argument_file.h"

#include <filesystem>
#include <fstream>
#include <string_view>

namespace penstock {
namespace {

constexpr std::string_view kSpace = " \t\r";

std::string_view Trimmed(std::string_view text) {
  size_t start = text.find_first_not_of(kSpace);
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find_last_not_of(kSpace) - start + 1);
}

// False where the line has a key and no value.
bool TakeLine(std::string_view line, std::vector<std::string>* words) {
  std::string_view pair = Trimmed(line);
  if (pair.empty() || pair.front() == '#') return true;
  size_t space = pair.find_first_of(kSpace);
  if (space == std::string_view::npos) return false;
  words->emplace_back(pair.substr(0, space));
  words->emplace_back(Trimmed(pair.substr(space)));
  return true;
}

}  // namespace

std::string ArgumentFileOf(const std::string& module) {
  return std::filesystem::path(module).replace_extension(".arguments").string();
}

Result<std::vector<std::string>> ReadArgumentFile(const std::string& path) {
  std::vector<std::string> words;
  std::error_code unknown;
  if (std::filesystem::status(path, unknown).type() == std::filesystem::file_type::not_found) return words;
  std::ifstream file(path);
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (TakeLine(line, &words)) continue;
    return Status::Error(path + ", line " + std::to_string(number) + ": '" + std::string(Trimmed(line)) +
                         "' has no value");
  }
  // A directory or a forbidden file ends at once, without having come to an end.
  if (!file.eof()) return Status::Error(path + " cannot be read");
  return words;
}

}  // namespace penstock

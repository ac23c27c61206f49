#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "argument_file.h"
#include "check.h"

using namespace penstock;
using penstock::test::Text;

namespace {

using Words = std::vector<std::string>;

// A directory of its own, gone with it.
class Scratch {
 public:
  Scratch() : folder_(std::filesystem::temp_directory_path() / ("arguments-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~Scratch() { std::filesystem::remove_all(folder_); }
  std::string Write(const std::string& text) {
    std::ofstream(folder_ / "module.arguments") << text;
    return ArgumentFileOf((folder_ / "module.so").string());
  }
  std::string folder() const { return folder_.string(); }

 private:
  std::filesystem::path folder_;
};

void ItLiesBesideTheModule() {
  CHECK_EQUAL(ArgumentFileOf("/x/lib/redisai.so"), "/x/lib/redisai.arguments");
  CHECK_EQUAL(ArgumentFileOf("/x.y/module"), "/x.y/module.arguments");
}

void NoFileSaysNothing() {
  auto words = ReadArgumentFile("/nowhere/at/all.arguments");
  CHECK_EQUAL(Text(words), "ok");
  CHECK(words->empty());
}

void ValuesGoToTheEndOfTheirLine() {
  Scratch scratch;
  auto words =
      ReadArgumentFile(scratch.Write("# where torch is\n\nTORCH /a folder/b.so \r\n\t PRELOAD\tTORCH"));
  CHECK_EQUAL(Text(words), "ok");
  CHECK(*words == (Words{"TORCH", "/a folder/b.so", "PRELOAD", "TORCH"}));
}

void AKeyWithoutAValueIsNamed() {
  Scratch scratch;
  std::string path = scratch.Write("TORCH /b.so\nPRELOAD \n");
  CHECK_EQUAL(Text(ReadArgumentFile(path)), path + ", line 2: 'PRELOAD' has no value");
}

void WhatCannotBeReadIsNamed() {
  Scratch scratch;
  CHECK_EQUAL(Text(ReadArgumentFile(scratch.folder())), scratch.folder() + " cannot be read");
}

void AnEmptyFileSaysNothing() {
  Scratch scratch;
  auto words = ReadArgumentFile(scratch.Write(""));
  CHECK_EQUAL(Text(words), "ok");
  CHECK(words->empty());
}

}  // namespace

int main() {
  ItLiesBesideTheModule();
  NoFileSaysNothing();
  ValuesGoToTheEndOfTheirLine();
  AKeyWithoutAValueIsNamed();
  WhatCannotBeReadIsNamed();
  AnEmptyFileSaysNothing();
  return penstock::test::Report();
}

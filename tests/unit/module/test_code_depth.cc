#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "code_depth.h"

using namespace penstock;
using penstock::test::Report;

namespace {

std::string Times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

// What each of these adds once, `count` of them add as often.
void WhatNestsIsCounted() {
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"return " + Times(100, "("), "x" + Times(100, ")")},
      {"x = " + Times(100, "["), Times(100, "]")},
      {"x = " + Times(100, "-"), "x"},
      {"x = " + Times(100, "not "), "x"},
      {"x = x", Times(100, " + x")},
      {"x = x", Times(100, "\\\n+ x")},
      {"x = (x", Times(100, "\n+ x") + ")"},
      {"x = x", Times(100, " if b else x")},
      {"x = x", Times(100, ".y")},
      {"x = f", Times(100, "()")},
      {"x = f", Times(100, "[0, 0]")},
      {"x = [0, 1, (2, ", Times(100, "-") + "x)]"},
      {"", Times(100, "  if x:\n    return x\n")},
      {"if x:\n  y\n", Times(100, "elif x:\n  y\n")},
      {"'it''s' + \"'\" + ", Times(100, "-") + "x"},
      {"\"\"\"it's \"quoted\" \\\"\"\" \"\"\" + ", Times(100, "-") + "x"},
      {"'not closed\n", Times(100, "-") + "x"},
      {"# it's said:\n", Times(100, "-") + "x"},
      {"# type: ", Times(100, "List[")},
  };
  for (const auto& [before, after] : kinds) {
    size_t depth = CodeDepth(before + after);
    CHECK_EQUAL(depth >= 100 && depth <= 405 ? "about 100" : before + after + std::to_string(depth),
                "about 100");
  }
}

void CommentsAreNoCode() {
  for (std::string quote : {"'''", "\"\"\"", "'", "\""})
    CHECK(CodeDepth("# " + quote + "\nx = " + Times(100, "(") + "\n# " + quote) >= 100);
  CHECK(CodeDepth("x = " + Times(100, "( # )\n")) >= 100);
  CHECK(CodeDepth("x = " + Times(100, "( #)")) < 10);
  CHECK(CodeDepth("#") == 0);
}

// A text in a pickle has its length before it: four bytes, of which the last is zero.
std::string Pickled(const std::string& text) { return std::string("(X\x10\x01\x00\x00", 6) + text + "q\x01"; }

void NamesOfTypesInAPickleNest() {
  for (std::string level : {"List[", "(", "-", "\n(", "not ", "f("})
    CHECK(PickleDepth(Pickled("Dict[str, int]") + Pickled(Times(100, level) + "int")) >= 100);
  CHECK(PickleDepth(Pickled(Times(40 * 100, "a."))) >= 100);
  CHECK(PickleDepth(Pickled("it's") + Pickled(Times(100, "List["))) >= 100);
}

void OtherTextsInAPickleAreNotDeep() {
  CHECK(PickleDepth("") == 0);
  CHECK(PickleDepth(Times(1000, Pickled("List[int]"))) < 10);
  CHECK(PickleDepth(Times(1000, Pickled("it's [here"))) < 10);
  CHECK(PickleDepth(Pickled(Times(1000, "aGVs+bG8/"))) < 100);  // base64
}

void WhatIsLongIsNotDeep() {
  CHECK(CodeDepth("x = [" + Times(1000, "-1.5, f(x)[0] + 2, ") + "]") < 10);
  CHECK(CodeDepth(Times(1000, "x = torch.add(x, -y[0])\n")) < 10);
  CHECK(CodeDepth(Times(1000, "def f(x):\n  if x:\n    return -x\n  return x\n")) < 10);
  CHECK(CodeDepth("x = '" + Times(1000, "(") + "'") < 10);
  CHECK(CodeDepth("x = \"\"\"" + Times(1000, "(\n\"") + "\"\"\"") < 10);
}

void AnyTextHasADepth() {
  for (const char* text : {"", ")", "]]]", "\\", "'", "\"\"\"", "'\\", "\n\n", "\xff(\xff", ",", "(,,)"})
    CHECK(CodeDepth(text) < 10);
}

}  // namespace

int main() {
  WhatNestsIsCounted();
  CommentsAreNoCode();
  NamesOfTypesInAPickleNest();
  OtherTextsInAPickleAreNotDeep();
  WhatIsLongIsNotDeep();
  AnyTextHasADepth();
  return Report();
}

#include "arguments.h"
#include "check.h"

using namespace penstock;

namespace {

void NumbersAreTakenWholeOrNotAtAll() {
  CHECK(ParseInteger("12") == 12);
  CHECK(ParseInteger("-3") == -3);
  for (const char* bad : {"", "1x", "x", " 1", "1.5", "99999999999999999999"}) CHECK(!ParseInteger(bad));
  CHECK(ParseReal("1.5e3") == 1500.0);
  CHECK(ParseReal("+2") == 2.0);
  for (const char* bad : {"", "A", "1.5f", "+-1"}) CHECK(!ParseReal(bad));
}

void DevicesAreWrittenInUpperCase() {
  CHECK(ParseDevice("cpu") == "CPU");
  CHECK(ParseDevice("gpu:12") == "GPU:12");
  for (const char* bad : {"", "TPU", "GPU:", "GPU:x", "GPU:-1", "GPU:1234", "CPUs"}) CHECK(!ParseDevice(bad));
}

void KeywordsMatchInAnyCaseAndWhole() {
  CHECK(EqualsAnyCase("InPuts", "INPUTS"));
  CHECK(!EqualsAnyCase("INPUT", "INPUTS"));
  CHECK(!EqualsAnyCase("INPUTSS", "INPUTS"));
}

void AWalkStepsOverWhatItTakes() {
  Arguments words({"cmd", "key", "blob", "x", "y"});
  CHECK_EQUAL(words.Next(), "key");
  CHECK(!words.Take("META"));
  CHECK(words.Take("BLOB"));
  auto positions = words.NextPositions(2);
  CHECK_EQUAL(positions[0], 3u);
  CHECK_EQUAL(positions[1], 4u);
  CHECK(words.done());
  CHECK(!words.Take("BLOB"));
}

}  // namespace

int main() {
  NumbersAreTakenWholeOrNotAtAll();
  DevicesAreWrittenInUpperCase();
  KeywordsMatchInAnyCaseAndWhole();
  AWalkStepsOverWhatItTakes();
  return penstock::test::Report();
}

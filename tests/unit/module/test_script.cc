#include "check.h"
#include "script.h"

using namespace penstock;
using penstock::test::Text;

namespace {

Arguments After(const char* command, std::vector<std::string_view> rest) {
  std::vector<std::string_view> words{command, "s"};
  words.insert(words.end(), rest.begin(), rest.end());
  return Arguments(words);
}

std::string Store(std::vector<std::string_view> rest) {
  return Text(ParseScriptStore(After("AI.SCRIPTSTORE", rest)));
}

std::string Execute(std::vector<std::string_view> rest) {
  return Text(ParseScriptExecute(After("AI.SCRIPTEXECUTE", rest)));
}

void AStoreNamesWhatIsWrong() {
  CHECK_EQUAL(Store({"CPU", "TAG", "t", "ENTRY_POINTS", "2", "f", "g", "SOURCE", "text"}), "ok");
  CHECK_EQUAL(Store({"TPU", "ENTRY_POINTS", "1", "f", "SOURCE", "text"}), "Invalid DEVICE");
  CHECK_EQUAL(Store({"CPU", "ENTRY_POINTS", "2", "f", "g", "SOURCE"}),
              "Insufficient arguments, missing script SOURCE");
  CHECK_EQUAL(Store({"CPU", "NO_ENTRY_POINTS", "2", "f", "g", "SOURCE", "text"}),
              "Insufficient arguments, missing script entry points");
  CHECK_EQUAL(Store({"CPU", "ENTRY_POINTS", "ENTRY_POINTS", "f", "g", "SOURCE", "text"}),
              "Non numeric entry points number provided to AI.SCRIPTSTORE command");
}

void ASetNeedsNoEntryPoints() {
  auto script = ParseScriptSet(After("AI.SCRIPTSET", {"cpu", "SOURCE", "def f(a): return a"}));
  CHECK_EQUAL(Text(script), "ok");
  CHECK_EQUAL(script->device, "CPU");
  CHECK_EQUAL(script->source, "def f(a): return a");
  CHECK(script->entry_points.empty());
  CHECK_EQUAL(Text(ParseScriptSet(After("AI.SCRIPTSET", {"CPU", "TAG", "t"}))),
              "Insufficient arguments, missing script SOURCE");
}

void ScopesAreReadInAnyOrderAfterTheFirst() {
  auto run =
      ParseScriptExecute(After("AI.SCRIPTEXECUTE", {"f", "KEYS", "1", "k", "OUTPUTS", "1", "o", "INPUTS", "2",
                                                    "a", "b", "ARGS", "1", "x", "TIMEOUT", "50"}));
  CHECK_EQUAL(Text(run), "ok");
  CHECK_EQUAL(run->keys[0], 5u);
  CHECK_EQUAL(run->inputs.size(), 2u);
  CHECK_EQUAL(run->outputs[0], 8u);
  CHECK_EQUAL(run->texts.size(), 1u);
  CHECK_EQUAL(run->timeout_ms, 50);
}

void ARunNamesWhatIsWrong() {
  CHECK_EQUAL(Execute({"f", "OUTPUTS", "2"}),
              "KEYS or INPUTS scope must be provided first for AI.SCRIPTEXECUTE command");
  CHECK_EQUAL(Execute({"f", "KEYS", "1"}), "Missing arguments after KEYS keyword");
  CHECK_EQUAL(Execute({"f", "KEYS", "not_a_number", "k"}),
              "Invalid or negative value found in number of KEYS");
  CHECK_EQUAL(
      Execute({"f", "KEYS", "2", "k"}),
      "Number of pre declared KEYS to be used in the command does not match the number of given arguments");
  CHECK_EQUAL(Execute({"f", "INPUTS", "OUTPUTS"}), "Invalid argument for inputs count in AI.SCRIPTEXECUTE");
  CHECK_EQUAL(Execute({"f", "KEYS", "1", "k", "ARGS"}), "Invalid arguments provided to AI.SCRIPTEXECUTE");
  CHECK_EQUAL(Execute({"f", "KEYS", "1", "k", "1"}),
              "Invalid AI.SCRIPTEXECUTE command. Unexpected argument: 1");
  CHECK_EQUAL(Execute({"f", "KEYS", "1", "k", "INPUTS", "1", "a", "keys", "1", "l"}),
              "Invalid AI.SCRIPTEXECUTE command. Unexpected argument: keys");
  CHECK_EQUAL(Execute({"f", "INPUTS", "1", "a", "NATIVE", "NATIVE"}),
              "Invalid AI.SCRIPTEXECUTE command. Unexpected argument: NATIVE");
  CHECK_EQUAL(Execute({"f", "INPUTS", "1", "a", "NATIVE", "OUTPUTS", "1", "o"}), "ok");
  CHECK_EQUAL(Execute({"f", "INPUTS", "1", "a", "TIMEOUT"}),
              "No value provided for TIMEOUT in AI.SCRIPTEXECUTE");
}

void TheOldFormHasNoCounts() {
  auto run = ParseScriptRun(After("AI.SCRIPTRUN", {"f", "INPUTS", "a", "$", "b", "c", "OUTPUTS", "o", "p"}));
  CHECK_EQUAL(Text(run), "ok");
  CHECK_EQUAL(run->inputs.size(), 3u);
  CHECK_EQUAL(run->inputs[1], 6u);
  CHECK_EQUAL(run->outputs[0], 9u);
  CHECK_EQUAL(run->outputs.size(), 2u);
  CHECK_EQUAL(Text(ParseScriptRun(After("AI.SCRIPTRUN", {"f", "INPUTS", "$", "a", "$", "b"}))),
              "Already encountered a variable size list of tensors");
}

}  // namespace

int main() {
  AStoreNamesWhatIsWrong();
  ASetNeedsNoEntryPoints();
  ScopesAreReadInAnyOrderAfterTheFirst();
  ARunNamesWhatIsWrong();
  TheOldFormHasNoCounts();
  return penstock::test::Report();
}

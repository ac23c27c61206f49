#include <sstream>

#include "check.h"
#include "dag.h"

using namespace penstock;
using penstock::test::Text;

namespace {

constexpr DagForm kExecute{};
constexpr DagForm kReadOnly{.deprecated = false, .read_only = true};
constexpr DagForm kOld{.deprecated = true, .read_only = false};

Result<Dag> Parse(const std::string& command, DagForm form) {
  static std::vector<std::string> owned;  // the words that the views below look at
  owned.clear();
  std::istringstream stream(command);
  for (std::string word; stream >> word;) owned.push_back(word);
  return ParseDag(Arguments(std::vector<std::string_view>(owned.begin(), owned.end())), form);
}

std::string Run(const std::string& rest, DagForm form = kExecute) {
  return Text(Parse(form.Name() + " " + rest, form));
}

void TheHeadNamesWhatIsWrong() {
  CHECK_EQUAL(Run("LOAD 2 a b PERSIST 1 a TIMEOUT 5 ROUTING r |> AI.TENSORGET a"), "ok");
  CHECK_EQUAL(Run("|> AI.TENSORSET a FLOAT"),
              "AI.DAGEXECUTE and AI.DAGEXECUTE_RO commands must contain at least one out of ROUTING, LOAD, "
              "PERSIST keywords");
  CHECK_EQUAL(Run("|> AI.TENSORSET a FLOAT 1", kOld), "ok");
  CHECK_EQUAL(Run("ROUTING a"), "DAG is empty");
  CHECK_EQUAL(Run("ROUTING a |>"), "DAG is empty");
  CHECK_EQUAL(Run("PERSIST 3 a b c ROUTING"), "Missing ROUTING value");
  CHECK_EQUAL(Run("PERSIST 1 a LOAD"), "missing arguments after LOAD keyword in DAG command");
  CHECK_EQUAL(Run("ROUTING a PERSIST"), "missing arguments after PERSIST keyword in DAG command");
  CHECK_EQUAL(Run("LOAD x |> AI.TENSORGET a"), "invalid or negative value found in number of keys to LOAD");
  CHECK_EQUAL(Run("LOAD -1 |> AI.TENSORGET a"), "invalid or negative value found in number of keys to LOAD");
  CHECK_EQUAL(Run("LOAD 2 a |> AI.TENSORGET a"),
              "number of keys to LOAD into DAG does not match the number of given arguments");
  CHECK_EQUAL(Run("PERSIST 9223372036854775807 a |> AI.TENSORGET a"),
              "number of keys to PERSIST after DAG execution does not match the number of given arguments");
  CHECK_EQUAL(Run("ROUTING a PERSIST 1 a BAD_ARG |> AI.TENSORGET a"),
              "Invalid DAG command. Unexpected argument:  BAD_ARG");
  CHECK_EQUAL(Run("LOAD 1 a LOAD 1 b |> AI.TENSORGET a"), "Invalid DAG command. Unexpected argument:  LOAD");
  CHECK_EQUAL(Run("ROUTING r |> AI.TENSORGET a", kOld), "Invalid DAG command. Unexpected argument:  ROUTING");
  CHECK_EQUAL(Run("LOAD 1 a TIMEOUT |> AI.TENSORGET a"), "No value provided for TIMEOUT");
  CHECK_EQUAL(Run("LOAD 1 a TIMEOUT 0 |> AI.TENSORGET a"), "Invalid value for TIMEOUT");
  CHECK_EQUAL(Run("PERSIST 1 a |> AI.TENSORSET a FLOAT", kReadOnly),
              "PERSIST cannot be specified in a read-only DAG");
}

void OnlyCommandsOfTheSameAgeGoTogether() {
  CHECK_EQUAL(Run("LOAD 1 a |> AI.MODELRUN m INPUTS a OUTPUTS b"),
              "Deprecated AI.MODELRUN cannot be used in AI.DAGEXECUTE command");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.SCRIPTRUN s f INPUTS a OUTPUTS b"),
              "Deprecated AI.SCRIPTRUN cannot be used in AI.DAGEXECUTE command");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 1 b", kOld),
              "AI.MODELEXECUTE cannot be used in a deprecated AI.DAGRUN command");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.SCRIPTEXECUTE s f INPUTS 1 a OUTPUTS 1 b", kOld),
              "AI.SCRIPTEXECUTE cannot be used in a deprecated AI.DAGRUN command");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.SCRIPTEXECUTE s f INPUTS 1 a OUTPUTS 1 b", kReadOnly),
              "AI.SCRIPTEXECUTE command cannot be specified in a read-only DAG");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.SCRIPTRUN s f INPUTS a OUTPUTS b", kOld), "ok");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 1 b", kReadOnly), "ok");
}

void StepsNameWhatIsWrong() {
  CHECK_EQUAL(Run("ROUTING a |> AI.NOCOMMAND a"), "Unsupported command within DAG");
  CHECK_EQUAL(Run("ROUTING a |> |> AI.TENSORSET a FLOAT"), "Unsupported command within DAG");
  CHECK_EQUAL(Run("ROUTING a |> AI.TENSORSET a FLOAT |>"), "Unsupported command within DAG");
  CHECK_EQUAL(Run("ROUTING a |> AI.TENSORSET a"), "wrong number of arguments for 'AI.TENSORSET' command");
  CHECK_EQUAL(Run("ROUTING a |> AI.TENSORSET a INT128"), "invalid data type");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.TENSORGET a WHAT"), "unsupported data format");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 0 b"),
              "Output count must be a positive integer");
  CHECK_EQUAL(Run("LOAD 1 a |> AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 1 b TIMEOUT 10"),
              "TIMEOUT belongs to the whole DAG, before its first command");
  CHECK_EQUAL(Run("ROUTING a |> AI.MODELEXECUTE m INPUTS 1 a OUTPUTS 1 b"),
              "INPUT key cannot be found in DAG");
  CHECK_EQUAL(Run("ROUTING a |> AI.TENSORGET a"), "INPUT key cannot be found in DAG");
  CHECK_EQUAL(Run("PERSIST 1 b |> AI.TENSORSET a FLOAT"), "PERSIST key cannot be found in DAG");
}

void NamesStandForWhatTheLastStepPutThere() {
  auto dag = Parse(
      "AI.DAGEXECUTE LOAD 1 a PERSIST 1 a |> AI.TENSORSET b FLOAT 1 VALUES 2 |> AI.MODELEXECUTE m INPUTS 2 a "
      "b "
      "OUTPUTS 1 a |> AI.TENSORGET a VALUES |> AI.TENSORSET a FLOAT",
      kExecute);
  CHECK_EQUAL(Text(dag), "ok");
  CHECK_EQUAL(dag->slots, 4u);
  CHECK_EQUAL(dag->steps.size(), 4u);
  CHECK(dag->steps[1].inputs == (std::vector<size_t>{0, 1}));
  CHECK(dag->steps[1].outputs == (std::vector<size_t>{2}));
  CHECK(dag->steps[2].inputs == (std::vector<size_t>{2}));
  CHECK(dag->steps[2].get.values && !dag->steps[2].get.meta);
  CHECK_EQUAL(dag->persist[0].slot, 3u);
  CHECK_EQUAL(dag->persist[0].key, 6u);
  CHECK_EQUAL(dag->steps[0].first, 8u);
  CHECK_EQUAL(dag->steps[1].key(), 16u);
}

void LocalNamesAreNoKeys() {
  auto dag = Parse(
      "AI.DAGEXECUTE ROUTING r LOAD 1 l PERSIST 1 p |> AI.TENSORSET t FLOAT |> AI.SCRIPTEXECUTE s f KEYS 2 "
      "k1 k2 "
      "INPUTS 2 t l OUTPUTS 1 u |> AI.MODELEXECUTE m INPUTS 1 u OUTPUTS 1 p |> AI.TENSORGET u",
      kExecute);
  CHECK_EQUAL(Text(dag), "ok");
  CHECK(dag->Keys() == (std::vector<size_t>{5, 8, 2, 15, 19, 20, 30}));
}

void BytesMayLookLikeAnArrow() {
  CHECK_EQUAL(Run("ROUTING r |> AI.TENSORSET t UINT8 2 BLOB |> |> AI.TENSORGET t"), "ok");
  auto dag = Parse("AI.DAGEXECUTE ROUTING r |> AI.TENSORSET t UINT8 2 BLOB |>", kExecute);
  CHECK_EQUAL(Text(dag), "ok");
  CHECK_EQUAL(*dag->steps[0].set.blob, 5u);
}

}  // namespace

int main() {
  TheHeadNamesWhatIsWrong();
  OnlyCommandsOfTheSameAgeGoTogether();
  StepsNameWhatIsWrong();
  NamesStandForWhatTheLastStepPutThere();
  LocalNamesAreNoKeys();
  BytesMayLookLikeAnArrow();
  return penstock::test::Report();
}

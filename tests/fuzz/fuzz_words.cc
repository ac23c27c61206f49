// Every parser of commands, on any words: none crashes, each error has a text, each position is a word's.
#include "arena_words.h"
#include "dag.h"
#include "input_words.h"
#include "model.h"
#include "options.h"
#include "script.h"
#include "tensor_words.h"

namespace penstock::fuzz {
namespace {

void CheckPositions(const std::vector<size_t>& positions, size_t words) {
  for (size_t at : positions) Require(at > 0 && at < words, "a position is a word's");
}

template <class T>
bool Parsed(const Result<T>& result) {
  Require(result.ok() || !result.status().text().empty(), "an error says what is wrong");
  return result.ok();
}

void CheckRun(Result<RunWords> run, size_t words) {
  if (!Parsed(run)) return;
  for (auto* positions : {&run->keys, &run->inputs, &run->outputs, &run->texts})
    CheckPositions(*positions, words);
  Require(run->timeout_ms >= 0, "no time is negative");
}

void CheckStore(Result<ModelStoreWords> store, size_t words) {
  if (!Parsed(store)) return;
  CheckPositions(store->pieces, words);
  Require(!store->pieces.empty(), "a model has a file");
  Require(store->definition.batch_size >= 0, "no batch is negative");
}

void CheckScript(Result<ScriptDefinition> script) {
  if (Parsed(script)) Require(!script->device.empty(), "a script has a device");
}

void CheckTensor(Result<TensorSetWords> set, size_t words) {
  if (!Parsed(set)) return;
  CheckPositions(set->elements, words);
  if (set->blob) CheckPositions({*set->blob}, words);
}

void CheckArena(const Arguments& words) {
  if (words.size() >= 3) (void)Parsed(ParseIntroduction(words));
  if (words.size() >= 2) (void)Parsed(ParseRelease(words));
  if (words.size() >= 2) (void)Parsed(ParseMap(words));
  auto lease = words.size() >= 2 ? ParseLease(words) : Status::Error("too short");
  if (Parsed(lease)) Require(lease->bytes > 0, "a lease has bytes");
  auto put = words.size() >= 5 ? ParseArenaPut(words) : Status::Error("too short");
  if (Parsed(put))
    Require(put->bytes > 0 && put->bytes % ElementSize(put->type) == 0, "a tensor has elements");
}

void CheckDag(const Arguments& words, DagForm form) {
  auto dag = ParseDag(words, form);
  if (!Parsed(dag)) return;
  CheckPositions(dag->Keys(), words.size());
  for (const DagStep& step : dag->steps) {
    Require(step.first < words.size(), "a step begins at a word");
    if (step.runs()) Require(step.key() < words.size(), "a run has a key");
    for (auto* slots : {&step.inputs, &step.outputs})
      for (size_t slot : *slots) Require(slot < dag->slots, "a slot is one of the DAG's");
  }
}

// What each command lets through to its parser.
void ParseAll(const std::vector<std::string_view>& words) {
  Arguments arguments(words);
  size_t count = words.size();
  if (count >= 6) CheckStore(ParseModelStore(arguments), count);
  if (count >= 4) CheckStore(ParseModelSet(arguments), count);
  if (count >= kModelExecuteWords) CheckRun(ParseModelExecute(arguments), count);
  if (count >= kModelRunWords) CheckRun(ParseModelRun(arguments), count);
  if (count >= 8) CheckScript(ParseScriptStore(arguments));
  if (count >= 5) CheckScript(ParseScriptSet(arguments));
  if (count >= kScriptExecuteWords) CheckRun(ParseScriptExecute(arguments), count);
  if (count >= kScriptRunWords) CheckRun(ParseScriptRun(arguments), count);
  if (count >= 3) CheckTensor(ParseTensorSet(arguments), count);
  if (count >= 2) (void)Parsed(ParseTensorGet(arguments));
  for (bool deprecated : {false, true})
    for (bool read_only : {false, true}) CheckDag(arguments, {deprecated, read_only});
  CheckArena(arguments);
  (void)Parsed(ParseOptions(words));
}

}  // namespace
}  // namespace penstock::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  penstock::fuzz::ParseAll(penstock::fuzz::SplitLines(data, size));
  return 0;
}

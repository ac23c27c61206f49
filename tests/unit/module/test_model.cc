#include <map>

#include "check.h"
#include "model.h"

using namespace penstock;
using penstock::test::Text;

namespace {

std::string Store(std::vector<std::string_view> rest) {
  std::vector<std::string_view> words{"AI.MODELSTORE", "m"};
  words.insert(words.end(), rest.begin(), rest.end());
  return Text(ParseModelStore(Arguments(words)));
}

std::string Execute(std::vector<std::string_view> rest) {
  std::vector<std::string_view> words{"AI.MODELEXECUTE", "m"};
  words.insert(words.end(), rest.begin(), rest.end());
  return Text(ParseModelExecute(Arguments(words)));
}

void AStoreIsReadWhole() {
  std::vector<std::string_view> words{
      "AI.MODELSTORE", "m", "torch",           "gpu:1", "TAG",  "v1", "BATCHSIZE", "8",
      "MINBATCHSIZE",  "2", "MINBATCHTIMEOUT", "5",     "BLOB", "ab", "cd"};
  auto parsed = ParseModelStore(Arguments(words));
  CHECK_EQUAL(Text(parsed), "ok");
  CHECK(parsed->definition.backend == BackendKind::kTorch);
  CHECK_EQUAL(parsed->definition.device, "GPU:1");
  CHECK_EQUAL(parsed->definition.tag, "v1");
  CHECK_EQUAL(parsed->definition.batch_size, 8);
  CHECK_EQUAL(parsed->definition.min_batch_size, 2);
  CHECK_EQUAL(parsed->definition.min_batch_timeout_ms, 5);
  CHECK_EQUAL(parsed->pieces.size(), 2u);
  CHECK_EQUAL(parsed->pieces[0], 13u);
}

void AStoreNamesWhatIsWrong() {
  CHECK_EQUAL(Store({"PORCH", "CPU", "BLOB", "x"}), "unsupported backend");
  CHECK_EQUAL(Store({"TORCH", "bad_device", "BLOB", "x"}), "Invalid DEVICE");
  CHECK_EQUAL(Store({"TORCH", "CPU", "BATCHSIZE", "bad", "BLOB", "x"}), "Invalid argument for BATCHSIZE");
  CHECK_EQUAL(Store({"TORCH", "CPU", "BATCHSIZE", "-1", "BLOB", "x"}), "Invalid argument for BATCHSIZE");
  CHECK_EQUAL(Store({"TORCH", "CPU", "BATCHSIZE", "2", "MINBATCHSIZE", "bad", "BLOB", "x"}),
              "Invalid argument for MINBATCHSIZE");
  CHECK_EQUAL(Store({"TORCH", "CPU", "MINBATCHSIZE", "2", "BLOB", "x"}),
              "MINBATCHSIZE specified without BATCHSIZE");
  CHECK_EQUAL(Store({"TORCH", "CPU", "BATCHSIZE", "2", "MINBATCHTIMEOUT", "1000", "BLOB", "x"}),
              "MINBATCHTIMEOUT specified without MINBATCHSIZE");
  CHECK_EQUAL(Store({"TORCH", "CPU", "BATCHSIZE", "2", "NOT_BLOB"}), "Invalid argument, expected BLOB");
  CHECK_EQUAL(Store({"TORCH", "CPU", "BATCHSIZE", "2"}), "Insufficient arguments, missing model BLOB");
  CHECK_EQUAL(Store({"TORCH", "CPU", "TAG", "t", "BLOB"}), "Insufficient arguments, missing model BLOB");
  CHECK_EQUAL(Store({"TORCH", "CPU", "INPUTS", "1", "a", "BLOB", "x"}),
              "INPUTS argument should not be specified for this backend");
  CHECK_EQUAL(Store({"TF", "CPU", "BLOB", "x"}), "INPUTS not specified for TF");
  CHECK_EQUAL(Store({"TF", "CPU", "INPUTS", "1", "a", "BLOB", "x"}), "OUTPUTS not specified for TF");
  CHECK_EQUAL(Store({"TF", "CPU", "INPUTS", "9", "a", "BLOB", "x"}),
              "number of model inputs does not match the number of given arguments");
}

void ARunNamesWhatIsWrong() {
  CHECK_EQUAL(Execute({"INPUTS", "1", "a", "OUTPUTS", "1", "b", "TIMEOUT", "60000000"}), "ok");
  CHECK_EQUAL(Execute({"timeout", "1000", "INPUTS", "1", "a", "OUTPUTS"}), "INPUTS not specified");
  CHECK_EQUAL(Execute({"INPUTS", "0", "a", "OUTPUTS", "1", "b"}), "Input count must be a positive integer");
  CHECK_EQUAL(Execute({"INPUTS", "no", "a", "OUTPUTS", "1", "b"}), "Invalid argument for input_count");
  CHECK_EQUAL(Execute({"INPUTS", "9", "a", "OUTPUTS", "1", "b"}),
              "number of input keys to AI.MODELEXECUTE command does not match the number of given arguments");
  CHECK_EQUAL(Execute({"INPUTS", "1", "a", "NOT_OUTPUTS", "1", "b"}), "OUTPUTS not specified");
  CHECK_EQUAL(Execute({"INPUTS", "1", "a", "OUTPUTS", "no", "b"}), "Invalid argument for output_count");
  CHECK_EQUAL(
      Execute({"INPUTS", "1", "a", "OUTPUTS", "2", "b"}),
      "number of output keys to AI.MODELEXECUTE command does not match the number of given arguments");
  CHECK_EQUAL(Execute({"INPUTS", "1", "a", "OUTPUTS", "1", "b", "TIMEOUT"}), "No value provided for TIMEOUT");
  CHECK_EQUAL(Execute({"INPUTS", "1", "a", "OUTPUTS", "1", "b", "TIMEOUT", "-43"}),
              "Invalid value for TIMEOUT");
  CHECK_EQUAL(Execute({"INPUTS", "1", "a", "OUTPUTS", "1", "b", "bad_arg"}), "Invalid argument: bad_arg");
}

void WhatLoadsAlikeIsForOneDeviceAndHasTheSameNames() {
  ModelDefinition model, other;
  CHECK(model.LoadsLike(other) && other.LoadsLike(model));
  other.device = "GPU";
  CHECK(!model.LoadsLike(other));
  other = {};
  other.outputs = {"y"};
  CHECK(model.LoadsLike(other));  // torch has no names
  model.backend = other.backend = BackendKind::kTensorflow;
  CHECK(!model.LoadsLike(other));
}

}  // namespace

int main() {
  AStoreIsReadWhole();
  AStoreNamesWhatIsWrong();
  ARunNamesWhatIsWrong();
  WhatLoadsAlikeIsForOneDeviceAndHasTheSameNames();
  return penstock::test::Report();
}

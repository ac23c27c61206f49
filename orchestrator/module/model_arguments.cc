// The words of AI.MODELSTORE and AI.MODELEXECUTE. Apart from model_commands.cc, where they are used: what
// knows no server is tested without one.
#include "model.h"

namespace penstock {
namespace {

// `KEYWORD n`, when it is next: a number that is not negative.
Status TakeNumber(Arguments* words, const char* keyword, int64_t* number, bool* given) {
  *given = words->Take(keyword);
  if (!*given) return Status::Ok();
  if (words->done()) return Status::Error("Insufficient arguments, missing model BLOB");
  auto value = words->NextInteger();
  if (!value || *value < 0) return Status::Error(std::string("Invalid argument for ") + keyword);
  *number = *value;
  return Status::Ok();
}

Status TakeBatching(Arguments* words, ModelDefinition* model) {
  bool batch = false;
  bool min_batch = false;
  bool timeout = false;
  Status status = TakeNumber(words, "BATCHSIZE", &model->batch_size, &batch);
  if (status.ok()) status = TakeNumber(words, "MINBATCHSIZE", &model->min_batch_size, &min_batch);
  if (!status.ok()) return status;
  if (min_batch && !batch) return Status::Error("MINBATCHSIZE specified without BATCHSIZE");
  status = TakeNumber(words, "MINBATCHTIMEOUT", &model->min_batch_timeout_ms, &timeout);
  if (!status.ok()) return status;
  if (timeout && !min_batch) return Status::Error("MINBATCHTIMEOUT specified without MINBATCHSIZE");
  return Status::Ok();
}

// `INPUTS k name..` or `OUTPUTS k name..`: TensorFlow must have them, the others must not.
Status TakeNames(Arguments* words, const char* keyword, const char* what, ModelDefinition* model,
                 std::vector<std::string>* names) {
  bool wanted = model->backend == BackendKind::kTensorflow;
  if (!words->Take(keyword)) {
    return wanted ? Status::Error(std::string(keyword) + " not specified for TF") : Status::Ok();
  }
  if (!wanted)
    return Status::Error(std::string(keyword) + " argument should not be specified for this backend");
  auto count = words->done() ? std::nullopt : words->NextInteger();
  if (!count || *count <= 0) return Status::Error(std::string("Invalid argument for ") + keyword + " count");
  if (static_cast<size_t>(*count) > words->left()) {
    return Status::Error(std::string("number of model ") + what +
                         " does not match the number of given arguments");
  }
  for (size_t at : words->NextPositions(static_cast<size_t>(*count))) names->emplace_back(words->word(at));
  return Status::Ok();
}

// `INPUTS n key..` or `OUTPUTS n key..` of AI.MODELEXECUTE.
Status TakeKeys(Arguments* words, const std::string& keyword, const char* lower, const char* title,
                std::vector<size_t>* keys) {
  if (!words->Take(keyword)) return Status::Error(keyword + " not specified");
  auto count = words->done() ? std::nullopt : words->NextInteger();
  if (!count) return Status::Error(std::string("Invalid argument for ") + lower + "_count");
  if (*count <= 0) return Status::Error(std::string(title) + " count must be a positive integer");
  if (static_cast<size_t>(*count) > words->left()) {
    return Status::Error(std::string("number of ") + lower +
                         " keys to AI.MODELEXECUTE command does not match the number of given arguments");
  }
  *keys = words->NextPositions(static_cast<size_t>(*count));
  return Status::Ok();
}

}  // namespace

Result<ModelStoreWords> ParseModelStore(Arguments words) {
  ModelStoreWords parsed;
  ModelDefinition& model = parsed.definition;
  words.Next();  // the key
  auto backend = ParseBackend(words.Next());
  if (!backend) return Status::Error("unsupported backend");
  model.backend = *backend;
  auto device = ParseDevice(words.Next());
  if (!device) return Status::Error("Invalid DEVICE");
  model.device = *device;
  if (words.Take("TAG")) {
    if (words.done()) return Status::Error("Insufficient arguments, missing model BLOB");
    model.tag = words.Next();
  }
  Status status = TakeBatching(&words, &model);
  if (status.ok()) status = TakeNames(&words, "INPUTS", "inputs", &model, &model.inputs);
  if (status.ok()) status = TakeNames(&words, "OUTPUTS", "outputs", &model, &model.outputs);
  if (!status.ok()) return status;
  if (words.done()) return Status::Error("Insufficient arguments, missing model BLOB");
  if (!words.Take("BLOB")) return Status::Error("Invalid argument, expected BLOB");
  if (words.done()) return Status::Error("Insufficient arguments, missing model BLOB");
  parsed.pieces = words.NextPositions(words.left());
  return parsed;
}

Result<RunWords> ParseModelExecute(Arguments words) {
  RunWords run;
  words.Next();  // the key
  Status status = TakeKeys(&words, "INPUTS", "input", "Input", &run.inputs);
  if (status.ok()) status = TakeKeys(&words, "OUTPUTS", "output", "Output", &run.outputs);
  if (!status.ok()) return status;
  if (words.Take("TIMEOUT")) {
    auto timeout = ParseTimeout(&words, "No value provided for TIMEOUT");
    if (!timeout.ok()) return timeout.status();
    run.timeout_ms = *timeout;
  }
  if (!words.done()) return Status::Error("Invalid argument: " + std::string(words.Peek()));
  return run;
}

}  // namespace penstock

// The words of AI.MODELSTORE and AI.MODELEXECUTE, and of their deprecated forms. Apart from
// model_commands.cc, where they are used: what knows no server is tested without one.
#include "model.h"

namespace penstock {
namespace {

Status MissingBlob() { return Status::Error("Insufficient arguments, missing model BLOB"); }

// `KEYWORD n`, when it is next: a number that is not negative.
Status TakeNumber(Arguments* words, const char* keyword, int64_t* number, bool* given) {
  *given = words->Take(keyword);
  if (!*given) return Status::Ok();
  if (words->done()) return MissingBlob();
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

// key, backend, device, [TAG t], batching
Status TakeHead(Arguments* words, ModelDefinition* model) {
  words->Next();  // the key
  auto backend = ParseBackend(words->Next());
  if (!backend) return Status::Error("unsupported backend");
  model->backend = *backend;
  auto device = ParseDevice(words->Next());
  if (!device) return Status::Error("Invalid DEVICE");
  model->device = *device;
  if (words->Take("TAG")) {
    if (words->done()) return MissingBlob();
    model->tag = words->Next();
  }
  return TakeBatching(words, model);
}

// `INPUTS name.. OUTPUTS name..` of AI.MODELSET. Old clients name them for every backend; only TensorFlow's
// files do not say them.
Status TakeUncountedNames(Arguments* words, ModelDefinition* model) {
  bool wanted = model->backend == BackendKind::kTensorflow;
  std::vector<size_t> inputs;
  std::vector<size_t> outputs;
  if (words->done()) return MissingBlob();
  if (words->Take("INPUTS")) inputs = words->NextUntil(words->Has("OUTPUTS") ? "OUTPUTS" : "BLOB");
  if (words->Take("OUTPUTS")) outputs = words->NextUntil("BLOB");
  if (!wanted) return Status::Ok();
  if (inputs.empty() && outputs.empty())
    return Status::Error("Insufficient arguments, INPUTS and OUTPUTS not specified");
  if (inputs.empty()) return Status::Error("INPUTS not specified for TF");
  if (outputs.empty()) return Status::Error("OUTPUTS not specified for TF");
  for (size_t at : inputs) model->inputs.emplace_back(words->word(at));
  for (size_t at : outputs) model->outputs.emplace_back(words->word(at));
  return Status::Ok();
}

// `BLOB chunk..`, to the end.
Status TakeFile(Arguments* words, std::vector<size_t>* pieces) {
  if (words->done()) return MissingBlob();
  if (!words->Take("BLOB")) return Status::Error("Invalid argument, expected BLOB");
  if (words->done()) return MissingBlob();
  *pieces = words->NextPositions(words->left());
  return Status::Ok();
}

Status TakeRunTimeout(Arguments* words, RunWords* run) {
  if (!words->Take("TIMEOUT")) return Status::Ok();
  auto timeout = ParseTimeout(words, "No value provided for TIMEOUT");
  if (timeout.ok()) run->timeout_ms = *timeout;
  return timeout.ok() ? Status::Ok() : timeout.status();
}

}  // namespace

Result<ModelStoreWords> ParseModelStore(Arguments words) {
  ModelStoreWords parsed;
  ModelDefinition& model = parsed.definition;
  Status status = TakeHead(&words, &model);
  if (status.ok()) status = TakeNames(&words, "INPUTS", "inputs", &model, &model.inputs);
  if (status.ok()) status = TakeNames(&words, "OUTPUTS", "outputs", &model, &model.outputs);
  if (status.ok()) status = TakeFile(&words, &parsed.pieces);
  if (!status.ok()) return status;
  return parsed;
}

Result<ModelStoreWords> ParseModelSet(Arguments words) {
  ModelStoreWords parsed;
  Status status = TakeHead(&words, &parsed.definition);
  if (status.ok()) status = TakeUncountedNames(&words, &parsed.definition);
  if (status.ok()) status = TakeFile(&words, &parsed.pieces);
  if (!status.ok()) return status;
  return parsed;
}

Result<RunWords> ParseModelExecute(Arguments words) {
  RunWords run;
  words.Next();  // the key
  Status status = TakeKeys(&words, "INPUTS", "input", "Input", &run.inputs);
  if (status.ok()) status = TakeKeys(&words, "OUTPUTS", "output", "Output", &run.outputs);
  if (status.ok()) status = TakeRunTimeout(&words, &run);
  if (!status.ok()) return status;
  run.native = words.Take("NATIVE");
  if (!words.done()) return Status::Error("Invalid argument: " + std::string(words.Peek()));
  return run;
}

// How many inputs and outputs there must be, the model knows.
Result<RunWords> ParseModelRun(Arguments words) {
  RunWords run;
  words.Next();  // the key
  Status status = TakeRunTimeout(&words, &run);
  if (!status.ok()) return status;
  if (!words.Take("INPUTS")) return Status::Error("INPUTS not specified");
  run.inputs = words.NextUntil("OUTPUTS");
  if (!words.Take("OUTPUTS")) return Status::Error("OUTPUTS not specified");
  run.outputs = words.NextPositions(words.left());
  return run;
}

}  // namespace penstock

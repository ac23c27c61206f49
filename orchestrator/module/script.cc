#include "script.h"

#include <set>

namespace penstock {
namespace {

Status MissingSource() { return Status::Error("Insufficient arguments, missing script SOURCE"); }

// key, device, [TAG t]
Status TakeHead(Arguments* words, ScriptDefinition* script) {
  words->Next();  // the key
  auto device = ParseDevice(words->Next());
  if (!device) return Status::Error("Invalid DEVICE");
  script->device = *device;
  if (!words->Take("TAG")) return Status::Ok();
  if (words->done()) return MissingSource();
  script->tag = words->Next();
  return Status::Ok();
}

Status TakeSource(Arguments* words, ScriptDefinition* script) {
  if (!words->Take("SOURCE") || words->done()) return MissingSource();
  script->source = words->Next();
  if (!words->done()) return Status::Error("a single script should come after SOURCE");
  return Status::Ok();
}

Status TakeEntryPoints(Arguments* words, ScriptDefinition* script) {
  if (!words->Take("ENTRY_POINTS"))
    return Status::Error("Insufficient arguments, missing script entry points");
  auto count = words->done() ? std::nullopt : words->NextInteger();
  if (!count) return Status::Error("Non numeric entry points number provided to AI.SCRIPTSTORE command");
  if (*count <= 0)
    return Status::Error("The number of entry points must be positive in AI.SCRIPTSTORE command");
  if (static_cast<size_t>(*count) > words->left()) {
    return Status::Error(
        "number of entry points to AI.SCRIPTSTORE command does not match the number of given arguments");
  }
  for (size_t at : words->NextPositions(static_cast<size_t>(*count)))
    script->entry_points.emplace_back(words->word(at));
  return Status::Ok();
}

// `KEYS n key..`; the keyword has been taken.
Status TakeDeclaredKeys(Arguments* words, std::vector<size_t>* keys) {
  if (words->left() < 2) return Status::Error("Missing arguments after KEYS keyword");
  auto count = words->NextInteger();
  if (!count || *count < 0) return Status::Error("Invalid or negative value found in number of KEYS");
  if (static_cast<size_t>(*count) > words->left()) {
    return Status::Error(
        "Number of pre declared KEYS to be used in the command does not match the number of given arguments");
  }
  *keys = words->NextPositions(static_cast<size_t>(*count));
  return Status::Ok();
}

// `INPUTS n ..`, `ARGS n ..`, `OUTPUTS n ..`; the keyword has been taken.
Status TakeCounted(Arguments* words, const char* what, std::vector<size_t>* positions) {
  const char* invalid = "Invalid arguments provided to AI.SCRIPTEXECUTE";
  if (words->done()) return Status::Error(invalid);
  auto count = words->NextInteger();
  if (!count || *count < 0) {
    return Status::Error(std::string("Invalid argument for ") + what + " count in AI.SCRIPTEXECUTE");
  }
  if (static_cast<size_t>(*count) > words->left()) return Status::Error(invalid);
  *positions = words->NextPositions(static_cast<size_t>(*count));
  return Status::Ok();
}

Status TakeTimeout(Arguments* words, RunWords* run) {
  auto timeout = ParseTimeout(words, "No value provided for TIMEOUT in AI.SCRIPTEXECUTE");
  if (!timeout.ok()) return timeout.status();
  run->timeout_ms = *timeout;
  return Status::Ok();
}

// Each section once: were a second one to take the place of the first, its words would be dropped in silence.
Status TakeSection(Arguments* words, std::set<std::string>* taken, RunWords* run) {
  std::string keyword = UpperCase(words->Peek());
  if (taken->insert(keyword).second) {
    if (words->Take("KEYS")) return TakeDeclaredKeys(words, &run->keys);
    if (words->Take("INPUTS")) return TakeCounted(words, "inputs", &run->inputs);
    if (words->Take("ARGS")) return TakeCounted(words, "args", &run->texts);
    if (words->Take("OUTPUTS")) return TakeCounted(words, "outputs", &run->outputs);
    if (words->Take("TIMEOUT")) return TakeTimeout(words, run);
    if (words->Take("NATIVE")) {
      run->native = true;
      return Status::Ok();
    }
  }
  return Status::Error("Invalid AI.SCRIPTEXECUTE command. Unexpected argument: " +
                       std::string(words->Peek()));
}

}  // namespace

size_t Script::MemoryBytes() const {
  ProgramPtr loaded = program();
  return sizeof(*this) + sizeof(ScriptDefinition) + definition_->source.capacity() +
         (loaded ? loaded->MemoryBytes() : 0);
}

Result<ScriptDefinition> ParseScriptStore(Arguments words) {
  ScriptDefinition script;
  Status status = TakeHead(&words, &script);
  if (status.ok()) status = TakeEntryPoints(&words, &script);
  if (status.ok()) status = TakeSource(&words, &script);
  if (!status.ok()) return status;
  return script;
}

Result<ScriptDefinition> ParseScriptSet(Arguments words) {
  ScriptDefinition script;
  Status status = TakeHead(&words, &script);
  if (status.ok()) status = TakeSource(&words, &script);
  if (!status.ok()) return status;
  return script;
}

Result<RunWords> ParseScriptExecute(Arguments words) {
  RunWords run;
  words.Next();  // the key
  run.function = words.Next();
  bool starts =
      !words.done() && (EqualsAnyCase(words.Peek(), "KEYS") || EqualsAnyCase(words.Peek(), "INPUTS"));
  if (!starts)
    return Status::Error("KEYS or INPUTS scope must be provided first for AI.SCRIPTEXECUTE command");
  std::set<std::string> taken;
  while (!words.done()) {
    Status status = TakeSection(&words, &taken, &run);
    if (!status.ok()) return status;
  }
  return run;
}

// List[Tensor] takes whatever inputs are left, so `$` need not be remembered; there can be only one.
Result<RunWords> ParseScriptRun(Arguments words) {
  RunWords run;
  words.Next();  // the key
  run.function = words.Next();
  if (words.Take("TIMEOUT")) {
    auto timeout = ParseTimeout(&words, "No value provided for TIMEOUT");
    if (!timeout.ok()) return timeout.status();
    run.timeout_ms = *timeout;
  }
  bool listed = false;
  if (words.Take("INPUTS")) {
    while (!words.done() && !EqualsAnyCase(words.Peek(), "OUTPUTS")) {
      bool dollar = words.Take("$");
      if (dollar && listed) return Status::Error("Already encountered a variable size list of tensors");
      listed = listed || dollar;
      if (!dollar) run.inputs.push_back(words.NextPositions(1)[0]);
    }
  }
  if (words.Take("OUTPUTS")) run.outputs = words.NextPositions(words.left());
  if (!words.done()) return Status::Error("Invalid argument: " + std::string(words.Peek()));
  return run;
}

}  // namespace penstock

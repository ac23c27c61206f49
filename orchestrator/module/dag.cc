#include "dag.h"

#include <map>
#include <utility>

#include "model.h"
#include "script.h"

namespace penstock {
namespace {

using Kind = DagStep::Kind;
using Words = std::vector<std::string_view>;

constexpr std::string_view kArrow = "|>";

struct StepEntry {
  const char* name;
  Kind kind;
  size_t least;       // words
  bool of_old;        // in AI.DAGRUN and AI.DAGRUN_RO
  bool of_new;        // in AI.DAGEXECUTE and AI.DAGEXECUTE_RO
  bool of_read_only;  // in the .._RO
};

constexpr StepEntry kStepTable[] = {
    {"AI.TENSORSET", Kind::kTensorSet, 3, true, true, true},
    {"AI.TENSORGET", Kind::kTensorGet, 2, true, true, true},
    {"AI.MODELEXECUTE", Kind::kModel, kModelExecuteWords, false, true, true},
    {"AI.MODELRUN", Kind::kModel, kModelRunWords, true, false, true},
    {"AI.SCRIPTEXECUTE", Kind::kScript, kScriptExecuteWords, false, true, false},
    {"AI.SCRIPTRUN", Kind::kScript, kScriptRunWords, true, false, true},
    {"PENSTOCK.TAG", Kind::kTag, 2, false, true, true},
};

Result<const StepEntry*> FindStep(std::string_view name, DagForm form) {
  for (const StepEntry& entry : kStepTable) {
    if (!EqualsAnyCase(name, entry.name)) continue;
    if (!form.deprecated && !entry.of_new) {
      return Status::Error(std::string("Deprecated ") + entry.name +
                           " cannot be used in AI.DAGEXECUTE command");
    }
    if (form.deprecated && !entry.of_old)
      return Status::Error(std::string(entry.name) + " cannot be used in a deprecated AI.DAGRUN command");
    if (form.read_only && !entry.of_read_only)
      return Status::Error(std::string(entry.name) + " command cannot be specified in a read-only DAG");
    return &entry;
  }
  return Status::Error("Unsupported command within DAG");
}

// Where the words that start at `first` end: at an arrow, or with the command. What follows the BLOB of a
// tensor is bytes, not a word.
size_t EndOfStep(const Arguments& words, size_t first) {
  bool sets = first < words.size() && EqualsAnyCase(words.word(first), "AI.TENSORSET");
  constexpr size_t kFirstDimension = 3;
  for (size_t at = first; at < words.size(); ++at) {
    if (words.word(at) == kArrow) return at;
    if (EqualsAnyCase(words.word(at), "VALUES")) sets = false;  // words, one of which may read BLOB
    if (sets && at >= first + kFirstDimension && EqualsAnyCase(words.word(at), "BLOB")) ++at;
  }
  return words.size();
}

Arguments Slice(const Arguments& words, size_t first, size_t end) {
  Words part;
  for (size_t at = first; at < end; ++at) part.push_back(words.word(at));
  return Arguments(std::move(part));
}

// Walks over the command, resolving names as it goes.
class Parser {
 public:
  Parser(const Arguments& words, DagForm form) : words_(words), form_(form) {}

  Result<Dag> Parse() {
    size_t end = EndOfStep(words_, 1);
    Status status = TakeHead(Slice(words_, 0, end));
    if (status.ok() && end + 1 >= words_.size()) status = Status::Error("DAG is empty");
    while (status.ok() && end < words_.size()) {
      size_t first = end + 1;
      end = EndOfStep(words_, first);
      status = TakeStep(first, end);
    }
    if (status.ok()) status = ResolvePersist();
    if (!status.ok()) return status;
    return std::move(dag_);
  }

 private:
  Status TakeHead(Arguments words) {
    while (!words.done()) {
      Status status = TakeSection(&words);
      if (!status.ok()) return status;
    }
    if (form_.deprecated || loads_ || persists_ || dag_.routing) return Status::Ok();
    return Status::Error(
        "AI.DAGEXECUTE and AI.DAGEXECUTE_RO commands must contain at least one out of ROUTING, LOAD, PERSIST "
        "keywords");
  }

  Status TakeSection(Arguments* words) {
    if (!loads_ && words->Take("LOAD")) return TakeLoad(words);
    if (!persists_ && words->Take("PERSIST")) return TakePersist(words);
    if (!form_.deprecated && !dag_.routing && words->Take("ROUTING")) {
      if (words->done()) return Status::Error("Missing ROUTING value");
      dag_.routing = words->NextPositions(1)[0];
      return Status::Ok();
    }
    if (dag_.timeout_ms == 0 && words->Take("TIMEOUT")) {
      auto timeout = ParseTimeout(words, "No value provided for TIMEOUT");
      if (timeout.ok()) dag_.timeout_ms = *timeout;
      return timeout.ok() ? Status::Ok() : timeout.status();
    }
    return Status::Error("Invalid DAG command. Unexpected argument:  " + std::string(words->Peek()));
  }

  Status TakeLoad(Arguments* words) {
    loads_ = true;
    Status status = TakeNames(words, "LOAD", "into DAG", &dag_.load);
    for (size_t at : dag_.load) NewSlot(words->word(at));
    return status;
  }

  Status TakePersist(Arguments* words) {
    persists_ = true;
    if (form_.read_only) return Status::Error("PERSIST cannot be specified in a read-only DAG");
    std::vector<size_t> keys;
    Status status = TakeNames(words, "PERSIST", "after DAG execution", &keys);
    for (size_t at : keys) dag_.persist.push_back({at, 0});
    return status;
  }

  static Status TakeNames(Arguments* words, const std::string& keyword, const char* when,
                          std::vector<size_t>* positions) {
    if (words->done()) return Status::Error("missing arguments after " + keyword + " keyword in DAG command");
    auto count = words->NextInteger();
    if (!count || *count < 0)
      return Status::Error("invalid or negative value found in number of keys to " + keyword);
    if (static_cast<size_t>(*count) > words->left()) {
      return Status::Error("number of keys to " + keyword + " " + when +
                           " does not match the number of given arguments");
    }
    *positions = words->NextPositions(static_cast<size_t>(*count));
    return Status::Ok();
  }

  Status TakeStep(size_t first, size_t end) {
    if (first == end) return Status::Error("Unsupported command within DAG");
    auto entry = FindStep(words_.word(first), form_);
    if (!entry.ok()) return entry.status();
    if (end - first < (*entry)->least) return WrongNumberOfArguments((*entry)->name);
    Arguments words = Slice(words_, first, end);
    DagStep step{(*entry)->kind, first, {}, {}, {}, {}, {}};
    Status status = ParseStep(words, &step);
    if (status.ok()) status = Resolve(words, &step);
    if (status.ok()) dag_.steps.push_back(std::move(step));
    return status;
  }

  Status ParseStep(const Arguments& words, DagStep* step) const {
    switch (step->kind) {
      case Kind::kTensorSet:
        return Put(ParseTensorSet(words), &step->set);
      case Kind::kTensorGet:
        return Put(ParseTensorGet(words), &step->get);
      case Kind::kModel:
        return PutRun(form_.deprecated ? ParseModelRun(words) : ParseModelExecute(words), step);
      case Kind::kScript:
        return PutRun(form_.deprecated ? ParseScriptRun(words) : ParseScriptExecute(words), step);
      case Kind::kTag:
        return words.size() == 2 ? Status::Ok() : WrongNumberOfArguments("PENSTOCK.TAG");
    }
    return Status::Error("Unsupported command within DAG");
  }

  template <class T>
  static Status Put(Result<T> parsed, T* to) {
    if (parsed.ok()) *to = std::move(*parsed);
    return parsed.ok() ? Status::Ok() : parsed.status();
  }

  static Status PutRun(Result<RunWords> parsed, DagStep* step) {
    Status status = Put(std::move(parsed), &step->run);
    bool timed = status.ok() && step->run.timeout_ms > 0;
    return timed ? Status::Error("TIMEOUT belongs to the whole DAG, before its first command") : status;
  }

  Status Resolve(const Arguments& words, DagStep* step) {
    std::vector<size_t> inputs = step->run.inputs;
    std::vector<size_t> outputs = step->run.outputs;
    if (step->kind == Kind::kTensorGet) inputs = {1};
    if (step->kind == Kind::kTensorSet) outputs = {1};
    for (size_t at : inputs) {
      auto found = names_.find(words.word(at));
      if (found == names_.end()) return Status::Error("INPUT key cannot be found in DAG");
      step->inputs.push_back(found->second);
    }
    for (size_t at : outputs) step->outputs.push_back(NewSlot(words.word(at)));
    return Status::Ok();
  }

  Status ResolvePersist() {
    for (Dag::Persist& persist : dag_.persist) {
      auto found = names_.find(words_.word(persist.key));
      if (found == names_.end()) return Status::Error("PERSIST key cannot be found in DAG");
      persist.slot = found->second;
    }
    return Status::Ok();
  }

  size_t NewSlot(std::string_view name) {
    names_[name] = dag_.slots;
    return dag_.slots++;
  }

  const Arguments& words_;
  DagForm form_;
  Dag dag_;
  std::map<std::string_view, size_t> names_;  // what each stands for at this point
  bool loads_ = false;
  bool persists_ = false;
};

}  // namespace

std::string DagForm::Name() const {
  return std::string(deprecated ? "AI.DAGRUN" : "AI.DAGEXECUTE") + (read_only ? "_RO" : "");
}

std::vector<size_t> Dag::Keys() const {
  std::vector<size_t> keys = load;
  for (const Persist& entry : persist) keys.push_back(entry.key);
  if (routing) keys.push_back(*routing);
  for (const DagStep& step : steps) {
    if (step.has_key()) keys.push_back(step.key());
    for (size_t at : step.run.keys) keys.push_back(step.first + at);
  }
  return keys;
}

Result<Dag> ParseDag(const Arguments& words, DagForm form) { return Parser(words, form).Parse(); }

}  // namespace penstock

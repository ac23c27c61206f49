// The words of AI.DAGEXECUTE and its three siblings: several commands in one message, with names of their
// own.
//
// DESIGN
//   A name in a DAG is local: it stands for what an earlier step, or LOAD, put there. Parsing resolves each
//   to a slot, and each output gets a new one, so that steps need no names when they run, and one that
//   overwrites a name disturbs no earlier one. Only LOAD, PERSIST and ROUTING, models, scripts and the KEYS
//   of scripts are keys of the database. Steps are split at `|>`, but for the one word after BLOB, which may
//   be any bytes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "run_words.h"
#include "status.h"
#include "tensor_words.h"

namespace penstock {

/// Which of the four commands it is.
struct DagForm {
  bool deprecated = false;  // AI.DAGRUN
  bool read_only = false;   // .._RO
  std::string Name() const;
};

struct DagStep {
  enum class Kind { kTensorSet, kTensorGet, kModel, kScript, kTag };
  Kind kind;
  size_t first;                // position of its command's name; positions in what follows count from there
  TensorSetWords set;          // of kTensorSet
  TensorForm get;              // of kTensorGet
  RunWords run;                // of kModel and kScript
  std::vector<size_t> inputs;  // slots
  std::vector<size_t> outputs;

  /// Position of the model or script; that of kTag is only looked at.
  size_t key() const { return first + 1; }
  bool has_key() const { return runs() || kind == Kind::kTag; }
  bool runs() const { return kind == Kind::kModel || kind == Kind::kScript; }
};

struct Dag {
  struct Persist {
    size_t key;  // position
    size_t slot;
  };
  std::vector<size_t> load;  // positions; the first slots, in this order
  std::vector<Persist> persist;
  std::optional<size_t> routing;
  int64_t timeout_ms = 0;  // 0: none
  std::vector<DagStep> steps;
  size_t slots = 0;

  /// Positions of all keys.
  std::vector<size_t> Keys() const;
};

Result<Dag> ParseDag(const Arguments& words, DagForm form);

}  // namespace penstock

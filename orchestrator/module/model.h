// A model: its file and how it is to be run. The definition never changes; a new one replaces the whole
// Model.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.h"
#include "backend.h"
#include "executable.h"
#include "model_file.h"
#include "run_words.h"
#include "status.h"

namespace penstock {

std::optional<BackendKind> ParseBackend(std::string_view name);
const char* BackendName(BackendKind kind);

struct ModelDefinition {
  BackendKind backend = BackendKind::kTorch;
  std::string device;
  std::string tag;
  int64_t batch_size = 0;
  int64_t min_batch_size = 0;
  int64_t min_batch_timeout_ms = 0;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::shared_ptr<ModelFile> file = std::make_shared<ModelFile>();

  /// The same file would become the same program.
  bool LoadsLike(const ModelDefinition& other) const;
};

class Model : public Executable {
 public:
  Model(std::shared_ptr<const ModelDefinition> definition, Load load);
  const ModelDefinition& definition() const { return *definition_; }
  const std::shared_ptr<const ModelDefinition>& shared_definition() const { return definition_; }
  BackendKind backend() const override { return definition_->backend; }
  Batching batching() const override;
  /// As given, else as the loaded model names them.
  std::vector<std::string> InputNames() const;
  std::vector<std::string> OutputNames() const;
  /// Both are what they will be once it is loaded.
  bool KnowsNames() const;
  /// The file where it is in memory, and what the loaded copy takes.
  size_t MemoryBytes() const;

 private:
  std::shared_ptr<const ModelDefinition> definition_;
};

using ModelPtr = std::shared_ptr<Model>;

/// AI.MODELSTORE's words; `pieces` are their positions, because the caller holds the arguments themselves.
struct ModelStoreWords {
  ModelDefinition definition;
  std::vector<size_t> pieces;
};
Result<ModelStoreWords> ParseModelStore(Arguments words);
/// The deprecated form, whose INPUTS and OUTPUTS have no counts.
Result<ModelStoreWords> ParseModelSet(Arguments words);

/// The least that each parser below must be given.
inline constexpr int kModelExecuteWords = 8;
inline constexpr int kModelRunWords = 6;
Result<RunWords> ParseModelExecute(Arguments words);
/// The deprecated form, without counts.
Result<RunWords> ParseModelRun(Arguments words);

}  // namespace penstock

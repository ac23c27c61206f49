// A script: TorchScript source whose functions work on tensors. Like a model, it is replaced as a whole.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.h"
#include "executable.h"
#include "run_words.h"
#include "status.h"

namespace penstock {

struct ScriptDefinition {
  std::string device;
  std::string tag;
  std::string source;
  std::vector<std::string> entry_points;  // none: stored by AI.SCRIPTSET, unchecked
};

class Script : public Executable {
 public:
  Script(std::shared_ptr<const ScriptDefinition> definition, Load load)
      : Executable(definition->device, definition->tag, std::move(load)),
        definition_(std::move(definition)) {}
  const ScriptDefinition& definition() const { return *definition_; }
  const std::shared_ptr<const ScriptDefinition>& shared_definition() const { return definition_; }
  size_t MemoryBytes() const;

 private:
  std::shared_ptr<const ScriptDefinition> definition_;
};

using ScriptPtr = std::shared_ptr<Script>;

Result<ScriptDefinition> ParseScriptStore(Arguments words);
/// The deprecated form, without entry points.
Result<ScriptDefinition> ParseScriptSet(Arguments words);

/// The least that each parser below must be given.
inline constexpr int kScriptExecuteWords = 4;
inline constexpr int kScriptRunWords = 3;
Result<RunWords> ParseScriptExecute(Arguments words);
/// The deprecated form, without counts.
Result<RunWords> ParseScriptRun(Arguments words);

}  // namespace penstock

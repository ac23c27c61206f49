#include "loading.h"

#include <vector>

#include "error_sink.h"

namespace penstock {
namespace {

using backend::Bytes;

Bytes ToBytes(std::string_view text) { return {text.data(), text.size()}; }

Result<ProgramPtr> Finish(backend::Program* program, const ErrorSink& sink) {
  if (program == nullptr) return Status::Error(sink.error);
  return ProgramPtr(program);
}

Result<ProgramPtr> LoadModel(Backends* backends, const ModelDefinition& model) {
  if (model.backend != BackendKind::kTorch) {
    return Status::Error(std::string("backend ") + BackendName(model.backend) +
                         " is not available: only TORCH is");
  }
  auto torch = backends->Torch();
  if (!torch.ok()) return torch.status();
  std::vector<Bytes> pieces;
  for (const BufferPtr& piece : model.pieces) pieces.push_back(ToBytes(piece->view()));
  ErrorSink sink;
  return Finish((*torch)->LoadModel({pieces.data(), pieces.size(), ToBytes(model.device)}, sink), sink);
}

Result<ProgramPtr> CompileScript(Backends* backends, const ScriptDefinition& script) {
  auto torch = backends->Torch();
  if (!torch.ok()) return torch.status();
  std::vector<Bytes> names;
  for (const std::string& name : script.entry_points) names.push_back(ToBytes(name));
  ErrorSink sink;
  return Finish((*torch)->CompileScript(
                    {ToBytes(script.source), ToBytes(script.device), names.data(), names.size()}, sink),
                sink);
}

}  // namespace

ModelPtr NewModel(Backends* backends, std::shared_ptr<const ModelDefinition> definition, ModelPtr before) {
  auto load = [backends, definition, before = std::move(before)]() -> Result<ProgramPtr> {
    if (before != nullptr && before->definition().SameAs(*definition)) {
      auto program = before->Settle();
      if (program.ok()) return program;
    }
    return LoadModel(backends, *definition);
  };
  return std::make_shared<Model>(std::move(definition), std::move(load));
}

ScriptPtr NewScript(Backends* backends, std::shared_ptr<const ScriptDefinition> definition) {
  auto load = [backends, definition] { return CompileScript(backends, *definition); };
  return std::make_shared<Script>(std::move(definition), std::move(load));
}

}  // namespace penstock

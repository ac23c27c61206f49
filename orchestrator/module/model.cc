#include "model.h"

#include <algorithm>

namespace penstock {
namespace {

constexpr const char* kBackendNames[] = {"TF", "TFLITE", "TORCH", "ONNX"};

struct Names : backend::Sink {
  void Tensor(const backend::TensorView&) override {}
  void Keep(const backend::TensorView&, backend::Resident* array) override { delete array; }
  void Name(backend::Bytes name) override { list.emplace_back(name.data, name.size); }
  void Error(backend::Bytes) override {}
  std::vector<std::string> list;
};

}  // namespace

std::optional<BackendKind> ParseBackend(std::string_view name) {
  for (size_t i = 0; i < std::size(kBackendNames); ++i) {
    if (EqualsAnyCase(name, kBackendNames[i])) return static_cast<BackendKind>(i);
  }
  return std::nullopt;
}

const char* BackendName(BackendKind kind) { return kBackendNames[static_cast<size_t>(kind)]; }

bool ModelDefinition::LoadsLike(const ModelDefinition& other) const {
  if (backend != other.backend || device != other.device) return false;
  bool named = backend == BackendKind::kTensorflow;  // the others know the names themselves
  return !named || (inputs == other.inputs && outputs == other.outputs);
}

Model::Model(std::shared_ptr<const ModelDefinition> definition, Load load)
    : Executable(definition->device, definition->tag, std::move(load)), definition_(std::move(definition)) {}

Batching Model::batching() const {
  return {definition_->batch_size, definition_->min_batch_size,
          std::chrono::milliseconds(definition_->min_batch_timeout_ms)};
}

std::vector<std::string> Model::InputNames() const {
  ProgramPtr loaded = program();
  if (!definition_->inputs.empty() || loaded == nullptr) return definition_->inputs;
  Names names;
  loaded->Inputs(names);
  return names.list;
}

std::vector<std::string> Model::OutputNames() const {
  ProgramPtr loaded = program();
  if (!definition_->outputs.empty() || loaded == nullptr) return definition_->outputs;
  Names names;
  loaded->Outputs(names);
  return names.list;
}

bool Model::KnowsNames() const {
  bool outputs = !definition_->outputs.empty() || backend() == BackendKind::kTorch;  // has none
  return settled() || (outputs && !definition_->inputs.empty());
}

size_t Model::MemoryBytes() const {
  ProgramPtr loaded = program();
  return sizeof(*this) + sizeof(ModelDefinition) + definition_->file->MemoryBytes() +
         (loaded ? loaded->MemoryBytes() : 0);
}

}  // namespace penstock

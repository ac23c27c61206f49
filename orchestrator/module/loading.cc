#include "loading.h"

#include <vector>

#include "backend_bytes.h"
#include "error_sink.h"
#include "integer_division.h"
#include "memory.h"

namespace penstock {
namespace {

using backend::Bytes;

// Of a file on disk, from which they can be read again.
void NeedsNoMemory(Bytes bytes) { DiscardPages({bytes.data, bytes.size}); }

// `load` is given where its error goes, and called again where another may have divided by zero.
template <class LoadIt>
Result<ProgramPtr> Watched(LoadIt load, int further_tries = 2) {
  DivisionWatch divisions;  // constants are computed now
  ErrorSink sink;
  ProgramPtr program(load(sink));
  if (further_tries > 0 && divisions.OnlyElsewhere()) return Watched(load, further_tries - 1);
  Status status = divisions.Check();
  if (!status.ok()) return status;
  if (program == nullptr) return Status::Error(sink.error);
  return program;
}

Result<ProgramPtr> LoadModel(Backends* backends, const ModelDefinition& model) {
  // Where the file is in memory, it is counted by now; the loaded network takes about as much again.
  if (SpareMemory() != 0 && SpareMemory() < model.file->size()) {
    return Status::OutOfMemory("a model of " + std::to_string(model.file->size()) +
                               " bytes takes more memory than maxmemory leaves to it");
  }
  auto backend = backends->For(model.backend);
  if (!backend.ok()) return backend.status();
  std::vector<Bytes> pieces;
  for (const BufferPtr& piece : model.file->pieces()) pieces.push_back(ToBytes(piece->view()));
  std::vector<Bytes> inputs = ToBytes(model.inputs);
  std::vector<Bytes> outputs = ToBytes(model.outputs);
  std::string place = backends->PlaceFor(model.device);
  backend::ModelSource source{};
  source.kind = model.backend;
  source.pieces = pieces.data();
  source.piece_count = pieces.size();
  if (model.file->on_disk()) source.has_read = NeedsNoMemory;
  source.device = ToBytes(place);
  source.inputs = inputs.data();
  source.input_count = inputs.size();
  source.outputs = outputs.data();
  source.output_count = outputs.size();
  return Watched([&](backend::Sink& sink) { return (*backend)->LoadModel(source, sink); });
}

Result<ProgramPtr> CompileScript(Backends* backends, const ScriptDefinition& script) {
  auto torch = backends->For(BackendKind::kTorch);
  if (!torch.ok()) return torch.status();
  std::vector<Bytes> names = ToBytes(script.entry_points);
  std::string place = backends->PlaceFor(script.device);
  backend::ScriptSource source{ToBytes(script.source), ToBytes(place), names.data(), names.size()};
  return Watched([&](backend::Sink& sink) { return (*torch)->CompileScript(source, sink); });
}

}  // namespace

ModelPtr NewModel(Backends* backends, std::shared_ptr<const ModelDefinition> definition, ModelPtr before,
                  std::function<void(ModelFile&)> prepare) {
  std::shared_ptr<ModelFile> were;  // the bytes of `before` where they lie now: they may be moved meanwhile
  if (before != nullptr) were = std::make_shared<ModelFile>(before->definition().file->pieces());
  auto load = [backends, definition, were, before = std::move(before),
               prepare = std::move(prepare)]() -> Result<ProgramPtr> {
    ModelFile& file = *definition->file;
    file.OnceBeforeLoading([&] { prepare(file); });
    if (before != nullptr && before->definition().LoadsLike(*definition) && were->SameAs(*definition->file)) {
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

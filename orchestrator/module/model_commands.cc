// AI.MODELSTORE, AI.MODELGET, AI.MODELDEL, AI.MODELEXECUTE, and the deprecated AI.MODELSET and AI.MODELRUN.
#include "background_load.h"
#include "blocked.h"
#include "commands.h"
#include "execution.h"
#include "held_string.h"
#include "model_type.h"
#include "module_state.h"
#include "reply.h"
#include "storing.h"

namespace penstock {
namespace {

using ParseStore = Result<ModelStoreWords> (*)(Arguments);

struct Wanted {
  bool meta = false;
  bool blob = false;
};

// Nothing asked for means both.
Result<Wanted> ParseModelGet(Arguments words) {
  Wanted wanted;
  words.Next();  // the key
  while (!words.done()) {
    if (words.Take("META")) {
      wanted.meta = true;
    } else if (words.Take("BLOB")) {
      wanted.blob = true;
    } else {
      return Status::Error("Invalid argument: " + std::string(words.Peek()));
    }
  }
  if (!wanted.meta && !wanted.blob) wanted.meta = wanted.blob = true;
  return wanted;
}

void ReplyNames(RedisModuleCtx* context, const std::vector<std::string>& names) {
  redis::ReplyWithArray(context, static_cast<long>(names.size()));
  for (const std::string& name : names) ReplyText(context, name);
}

void ReplyMeta(RedisModuleCtx* context, const Model& stored) {
  const ModelDefinition& model = stored.definition();
  ReplyText(context, "backend");
  ReplyText(context, BackendName(model.backend));
  ReplyText(context, "device");
  ReplyText(context, model.device);
  ReplyText(context, "tag");
  ReplyText(context, model.tag);
  ReplyText(context, "batchsize");
  redis::ReplyWithLongLong(context, model.batch_size);
  ReplyText(context, "minbatchsize");
  redis::ReplyWithLongLong(context, model.min_batch_size);
  ReplyText(context, "inputs");
  ReplyNames(context, stored.InputNames());
  ReplyText(context, "outputs");
  ReplyNames(context, stored.OutputNames());
  ReplyText(context, "minbatchtimeout");
  redis::ReplyWithLongLong(context, model.min_batch_timeout_ms);
}

// One bulk, or an array of pieces when the file is longer than MODEL_CHUNK_SIZE.
void ReplyFile(RedisModuleCtx* context, const ModelDefinition& model) {
  size_t bytes = model.file->size();
  size_t chunk = ChunkBytes(model);
  std::string scratch;
  if (bytes > chunk) redis::ReplyWithArray(context, static_cast<long>((bytes + chunk - 1) / chunk));
  if (bytes == 0) ReplyText(context, "");
  for (size_t start = 0; start < bytes; start += chunk) {
    ReplyText(context, model.file->Part(start, std::min(chunk, bytes - start), &scratch));
  }
}

int ReplyModel(RedisModuleCtx* context, const Model& model, const Wanted& wanted) {
  if (wanted.meta) {
    redis::ReplyWithArray(context, wanted.blob ? 18 : 16);
    ReplyMeta(context, model);
  }
  if (wanted.meta && wanted.blob) ReplyText(context, "blob");
  if (wanted.blob) ReplyFile(context, model.definition());
  return redis::kOk;
}

// Answers when the model is loaded, because only then are the names of its inputs and outputs known.
class BlockedGet : public Blocked {
 public:
  BlockedGet(RedisModuleCtx* context, ModelPtr model, Wanted wanted)
      : Blocked(context), model_(std::move(model)), wanted_(wanted) {}

 protected:
  void Finish() override {}
  void OnGone() override {}
  int Answer(RedisModuleCtx* context) override { return ReplyModel(context, *model_, wanted_); }

 private:
  ModelPtr model_;
  Wanted wanted_;
};

int ReplyWhenLoaded(RedisModuleCtx* context, ModelPtr model, Wanted wanted) {
  auto waiting =
      std::make_shared<std::unique_ptr<Blocked>>(std::make_unique<BlockedGet>(context, model, wanted));
  bool unloaded = model->WhenSettled([waiting] { Blocked::Deliver(std::move(*waiting)); });
  if (unloaded) LoadInBackground(model);
  return redis::kOk;
}

int StoreParsed(RedisModuleCtx* context, RedisModuleString** argv, int argc, int least, ParseStore parse) {
  if (argc < least) return WrongArity(context, argv[0]);
  auto words = parse(Words(argv, argc));
  if (!words.ok()) return Reply(context, words.status());
  auto before = FindModel(context, argv[1]);
  if (!before.ok()) return Reply(context, before.status());
  MeasureSpareMemory(context);
  auto model = std::make_shared<ModelDefinition>(std::move(words->definition));
  for (size_t at : words->pieces) model->file->Add(std::make_shared<FileBuffer>(HeldString(argv[at])));
  if (IsLoading(context)) before = ModelPtr();  // each would keep the one before it
  return StoreModel(context, argv, argc, MakeModel(std::move(model), *before));
}

Result<std::shared_ptr<Executable>> Find(RedisModuleCtx* context, RedisModuleString* key) {
  auto model = GetModel(context, key);
  if (!model.ok()) return model.status();
  return std::shared_ptr<Executable>(*model);
}

int RunParsed(RedisModuleCtx* context, RedisModuleString** argv, int argc, int least, ParseRun parse) {
  return Execute(context, argv, argc, least, parse, Find);
}

}  // namespace

int ModelStore(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return StoreParsed(context, argv, argc, 6, ParseModelStore);
}

int ModelSet(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return StoreParsed(context, argv, argc, 4, ParseModelSet);
}

int ModelGet(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 2 || argc > 4) return WrongArity(context, argv[0]);
  auto wanted = ParseModelGet(Words(argv, argc));
  if (!wanted.ok()) return Reply(context, wanted.status());
  auto model = GetStoredModel(context, argv[1]);
  if (!model.ok()) return Reply(context, model.status());
  bool unknown = wanted->meta && !(*model)->KnowsNames();
  if (unknown && MayBlock(context)) return ReplyWhenLoaded(context, *model, *wanted);
  return ReplyModel(context, **model, *wanted);
}

int ModelDel(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 2) return WrongArity(context, argv[0]);
  Status status = DeleteModel(context, argv[1]);
  if (status.ok()) redis::ReplicateVerbatim(context);
  return Reply(context, status);
}

int ModelExecute(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return RunParsed(context, argv, argc, kModelExecuteWords, ParseModelExecute);
}

int ModelRun(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return RunParsed(context, argv, argc, kModelRunWords, ParseModelRun);
}

}  // namespace penstock

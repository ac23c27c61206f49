// AI.CONFIG.
#include "blocked.h"
#include "commands.h"
#include "module_state.h"
#include "reply.h"

namespace penstock {
namespace {

// Opening a library takes seconds when its file is cold: the loader does it.
class OpenTask : public BlockedTask {
 public:
  OpenTask(RedisModuleCtx* context, BackendKind kind, std::string path)
      : BlockedTask(context), kind_(kind), path_(std::move(path)) {}
  void Run() override {
    status_ = state().backends.OpenAt(kind_, path_);
    if (!status_.ok()) redis::Log(nullptr, "warning", "error loading backend: %s", status_.text().c_str());
  }

 protected:
  void Finish() override {}
  int Answer(RedisModuleCtx* context) override {
    if (status_.ok()) return Reply(context, status_);
    return Reply(context, Status::Error("error loading backend"));  // the text clients know; the log says why
  }

 private:
  BackendKind kind_;
  std::string path_;
  Status status_ = Status::Ok();
};

int LoadBackend(RedisModuleCtx* context, Arguments words) {
  if (words.left() != 2) return WrongArity(context, words.word(0));
  auto kind = ParseBackend(words.Next());
  if (!kind) return Reply(context, Status::Error("unsupported backend"));
  if (!MayBlock(context)) return Reply(context, RefuseToBlock());
  state().loader.Push(std::make_unique<OpenTask>(context, *kind, std::string(words.Next())));
  return redis::kOk;
}

// Which file is opened is for whoever starts the server to say; clients that set the folder go on working.
int CheckFolder(RedisModuleCtx* context, Arguments words) {
  if (words.done()) return Reply(context, Status::Error("BACKENDSPATH: missing path argument"));
  return Reply(context, state().backends.CheckFolder(std::string(words.Next())));
}

int SetChunkSize(RedisModuleCtx* context, Arguments words) {
  if (words.done()) return Reply(context, Status::Error("MODEL_CHUNK_SIZE: missing chunk size"));
  auto bytes = words.NextInteger();
  if (!bytes || *bytes <= 0) return Reply(context, Status::Error("MODEL_CHUNK_SIZE: invalid chunk size"));
  state().options.model_chunk_bytes = *bytes;
  return Reply(context, Status::Ok());
}

int Get(RedisModuleCtx* context, Arguments words) {
  if (words.done()) return WrongArity(context, words.word(0));
  if (words.Take("MODEL_CHUNK_SIZE"))
    return redis::ReplyWithLongLong(context, state().options.model_chunk_bytes);
  if (words.Take("BACKENDSPATH")) return ReplyText(context, state().backends.folder());
  return redis::ReplyWithNull(context);
}

}  // namespace

int Config(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 2) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  if (words.Take("GET")) return Get(context, words);
  if (words.Take("MODEL_CHUNK_SIZE")) return SetChunkSize(context, words);
  if (words.Take("BACKENDSPATH")) return CheckFolder(context, words);
  if (words.Take("LOADBACKEND")) return LoadBackend(context, words);
  return Reply(context, Status::Error("unsupported subcommand"));
}

}  // namespace penstock

// AI.SCRIPTSTORE, AI.SCRIPTSET, AI.SCRIPTGET, AI.SCRIPTDEL, AI.SCRIPTEXECUTE, AI.SCRIPTRUN.
#include "commands.h"
#include "execution.h"
#include "loading.h"
#include "module_state.h"
#include "reply.h"
#include "script_type.h"
#include "storing.h"

namespace penstock {
namespace {

using ParseStore = Result<ScriptDefinition> (*)(Arguments);

struct Wanted {
  bool meta = false;
  bool source = false;
};

// Nothing asked for means both.
Result<Wanted> ParseScriptGet(Arguments words) {
  Wanted wanted;
  words.Next();  // the key
  while (!words.done()) {
    if (words.Take("META")) {
      wanted.meta = true;
    } else if (words.Take("SOURCE")) {
      wanted.source = true;
    } else {
      return Status::Error("Invalid argument: " + std::string(words.Peek()));
    }
  }
  if (!wanted.meta && !wanted.source) wanted.meta = wanted.source = true;
  return wanted;
}

int StoreParsed(RedisModuleCtx* context, RedisModuleString** argv, int argc, int least, ParseStore parse) {
  if (argc < least) return WrongArity(context, argv[0]);
  auto script = parse(Words(argv, argc));
  if (!script.ok()) return Reply(context, script.status());
  auto definition = std::make_shared<const ScriptDefinition>(std::move(*script));
  return StoreScript(context, argv, argc, NewScript(&state().backends, std::move(definition)));
}

Result<std::shared_ptr<Executable>> Find(RedisModuleCtx* context, RedisModuleString* key) {
  auto script = GetScript(context, key);
  if (!script.ok()) return script.status();
  return std::shared_ptr<Executable>(*script);
}

int RunParsed(RedisModuleCtx* context, RedisModuleString** argv, int argc, int least, ParseRun parse) {
  return Execute(context, argv, argc, least, parse, Find);
}

void ReplyMeta(RedisModuleCtx* context, const ScriptDefinition& script) {
  ReplyText(context, "device");
  ReplyText(context, script.device);
  ReplyText(context, "tag");
  ReplyText(context, script.tag);
  ReplyText(context, "Entry Points");
  redis::ReplyWithArray(context, static_cast<long>(script.entry_points.size()));
  for (const std::string& name : script.entry_points) ReplyText(context, name);
}

}  // namespace

int ScriptStore(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return StoreParsed(context, argv, argc, 8, ParseScriptStore);
}

int ScriptSet(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return StoreParsed(context, argv, argc, 5, ParseScriptSet);
}

int ScriptGet(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 2) return WrongArity(context, argv[0]);
  auto wanted = ParseScriptGet(Words(argv, argc));
  if (!wanted.ok()) return Reply(context, wanted.status());
  auto script = GetStoredScript(context, argv[1]);
  if (!script.ok()) return Reply(context, script.status());
  if (wanted->meta) {
    redis::ReplyWithArray(context, wanted->source ? 8 : 6);
    ReplyMeta(context, (*script)->definition());
  }
  if (wanted->meta && wanted->source) ReplyText(context, "source");
  if (wanted->source) ReplyText(context, (*script)->definition().source);
  return redis::kOk;
}

int ScriptDel(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 2) return WrongArity(context, argv[0]);
  Status status = DeleteScript(context, argv[1]);
  if (status.ok()) redis::ReplicateVerbatim(context);
  return Reply(context, status);
}

int ScriptExecute(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return RunParsed(context, argv, argc, kScriptExecuteWords, ParseScriptExecute);
}

int ScriptRun(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  return RunParsed(context, argv, argc, kScriptRunWords, ParseScriptRun);
}

}  // namespace penstock

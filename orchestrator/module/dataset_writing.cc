// PENSTOCK.BEGIN and PENSTOCK.COMPLETE.
#include "dataset_writing.h"

#include <vector>

#include "commands.h"
#include "commands_within.h"
#include "held_string.h"
#include "keyspace.h"
#include "module_state.h"
#include "reply.h"
#include "writings.h"

namespace penstock {
namespace {

constexpr long long kTurnMs = 100;
constexpr std::string_view kMetadata = "meta";  // how the key of a dataset's metadata ends
constexpr const char* kComplete = ".COMPLETE";
constexpr const char* kNames = ".tensor_names";

// Never deleted, as all that the module keeps for as long as the server lives.
Writings& writings() {
  static auto* all = new Writings;
  return *all;
}

int TypeOf(RedisModuleCtx* context, std::string_view key) {
  HeldString name = HeldString::Copy(key);
  OpenedKey opened(context, name.get(), redis::kRead);
  return opened.empty() ? redis::kKeyEmpty : redis::KeyType(opened.get());
}

bool IsComplete(RedisModuleCtx* context, std::string_view key) {
  if (TypeOf(context, key) != redis::kKeyHash) return false;
  auto answer = Ask(context, "HEXISTS", {key, kComplete});
  return answer.ok() && NumberOf(answer->get()) != 0;
}

void Remove(RedisModuleCtx* context, const DatasetKey& dataset) {
  const std::string& key = dataset.second;
  redis::SelectDb(context, dataset.first);
  auto packed = Ask(context, "HGET", {key, kNames});
  if (!packed.ok()) return;  // somebody has put another kind of value there
  auto text = TextOf(packed->get());
  if (!text) return;
  std::vector<std::string> keys{key};
  std::string prefix = key.substr(0, key.size() - kMetadata.size());
  for (const std::string& name : UnpackNames(*text)) keys.push_back(prefix + name);
  auto removed = Change(context, "UNLINK", {keys.begin(), keys.end()});
  if (removed.ok())
    redis::Log(context, "notice", "removed %s and its tensors: who wrote it left and had not announced it",
               key.c_str());
}

bool is_sweeping = false;

void Sweep(RedisModuleCtx* context, void*);

void SweepLater(RedisModuleCtx* context) {
  if (!writings().HasLeft() || std::exchange(is_sweeping, true)) return;
  redis::CreateTimer(context, kTurnMs, Sweep, nullptr);
}

void Sweep(RedisModuleCtx* context, void*) {
  is_sweeping = false;
  bool is_replica = (redis::GetContextFlags(context) & redis::kReadOnly) != 0;
  if (is_replica || redis::AvoidReplicaTraffic() == 0) {
    for (const DatasetKey& dataset : writings().TakeLeft())
      if (!is_replica) Remove(context, dataset);
  }
  SweepLater(context);
}

}  // namespace

Status CheckMetadataKey(std::string_view key) {
  bool is_one = key.size() > kMetadata.size() && key.ends_with(kMetadata) &&
                key[key.size() - kMetadata.size() - 1] == '.';
  return is_one ? Status::Ok()
                : Status::Error("the metadata of a dataset are in a key that ends with '.meta', not in '" +
                                std::string(key) + "'");
}

void NoteWriting(RedisModuleCtx* context, std::string_view key) {
  uint64_t client = redis::GetClientId(context);
  DatasetKey dataset{redis::GetSelectedDb(context), std::string(key)};
  if (IsComplete(context, key)) {
    writings().End(dataset);
    writings().GiveUp(client);
  } else {
    writings().Begin(client, dataset);
  }
  SweepLater(state().context);
}

Status CheckIsThere(RedisModuleCtx* context, std::string_view key) {
  int type = TypeOf(context, key);
  if (type == redis::kKeyHash) return Status::Ok();
  if (type != redis::kKeyEmpty) return Status::WrongType();
  return Status::Coded("GONE", "there is no dataset of '" + std::string(key) +
                                   "' any more: it was removed when the connection ended that wrote it");
}

Status CompleteDataset(RedisModuleCtx* context, std::string_view key) {
  auto set = Change(context, "HSET", {key, kComplete, "1"});
  if (!set.ok()) return set.status();
  writings().End({redis::GetSelectedDb(context), std::string(key)});
  return Status::Ok();
}

void GiveUpWriting(uint64_t client) {
  writings().GiveUp(client);
  SweepLater(state().context);
}

// key field value [field value ...]
int DatasetBegin(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 4 || argc % 2 != 0) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  std::string_view key = words.Peek();
  Status status = CheckMetadataKey(key);
  if (!status.ok()) return Reply(context, status);
  if (IsInScript(context)) return Reply(context, RefuseInScript());
  NoteWriting(context, key);
  auto deleted = Change(context, "DEL", {key});
  if (!deleted.ok()) return Reply(context, deleted.status());
  std::vector<std::string_view> all;
  while (!words.done()) all.push_back(words.Next());
  return Reply(context, Change(context, "HSET", all).status());
}

// key
int DatasetComplete(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 2) return WrongArity(context, argv[0]);
  std::string_view key = View(argv[1]);
  Status status = CheckMetadataKey(key);
  if (status.ok()) status = CheckIsThere(context, key);
  return Reply(context, status.ok() ? CompleteDataset(context, key) : status);
}

}  // namespace penstock

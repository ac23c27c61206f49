// PENSTOCK.ROOM.
#include "memory_room.h"

#include <algorithm>
#include <deque>
#include <string>

#include "commands.h"
#include "dataset_writing.h"
#include "flow.h"
#include "machine_memory.h"
#include "reply.h"

namespace penstock {
namespace {

constexpr long long kLookMs = 10;  // memory is given back in the background: nothing tells
constexpr int64_t kPlentyShare = 2;
// The arena may take half of it. The rest is for the programs.
constexpr int64_t kMachineShare = 4;
// While a large argument is on its way the server has a buffer of its size ready for the next one.
constexpr int64_t kOnItsWay = 2;

struct Waiter {
  RedisModuleBlockedClient* blocked;
  uint64_t client;
  int64_t bytes;
};

int64_t limit = -1;  // bytes; 0: none; -1: not asked yet
Promises promises;
std::deque<Waiter> waiters;
bool is_looking = false;

int64_t Used() { return static_cast<int64_t>(redis::GetUsedMemoryRatio() * static_cast<double>(limit)); }

int64_t Share() { return static_cast<int64_t>(kMemoryShare * static_cast<double>(limit)); }

bool Fits(uint64_t client, int64_t bytes, int64_t share) {
  return limit == 0 || bytes <= share - Used() - promises.LoadWithout(client).bytes;
}

int ReplyNoRoom(RedisModuleCtx* context, int64_t needed) {
  std::string text = "the database has no memory for " + DescribeBytes(needed / kOnItsWay) +
                     " more: it uses " + DescribeBytes(Used()) + " of its limit of " + DescribeBytes(limit);
  if (promises.load().items > 0)
    text += ", " + DescribeBytes(promises.load().bytes) + " are on their way, and";
  else
    text += ", and";
  return Reply(context, Status::Coded("STREAMFULL", text + " streams may use nine tenths of it"));
}

int OnReply(RedisModuleCtx* context, RedisModuleString**, int) {
  return redis::ReplyWithLongLong(context, 1);
}

// Takes a waiter out of the line; 0 bytes where it was served.
int64_t Leave(RedisModuleBlockedClient* blocked) {
  auto found =
      std::find_if(waiters.begin(), waiters.end(), [&](const Waiter& one) { return one.blocked == blocked; });
  if (found == waiters.end()) return 0;
  int64_t bytes = found->bytes;
  waiters.erase(found);
  redis::UnblockClient(blocked, nullptr);
  return bytes;
}

int OnTimeout(RedisModuleCtx* context, RedisModuleString**, int) {
  return ReplyNoRoom(context, Leave(redis::GetBlockedClientHandle(context)));
}

void OnDisconnect(RedisModuleCtx*, RedisModuleBlockedClient* blocked) { (void)Leave(blocked); }

void Look(RedisModuleCtx* context, void*) {
  is_looking = false;
  MeasureMemoryLimit(context);
  while (!waiters.empty() && Fits(waiters.front().client, waiters.front().bytes, Share())) {
    promises.Make(waiters.front().client, waiters.front().bytes);
    redis::UnblockClient(waiters.front().blocked, nullptr);
    waiters.pop_front();
  }
  if (waiters.empty()) return;
  is_looking = true;
  redis::CreateTimer(context, kLookMs, Look, nullptr);
}

int Promise(RedisModuleCtx* context, int64_t bytes) {
  if (limit > 0) promises.Make(redis::GetClientId(context), bytes);
  return redis::ReplyWithLongLong(context, 1);
}

}  // namespace

void MeasureMemoryLimit(RedisModuleCtx* context) {
  if (redis::GetServerInfo == nullptr) {
    limit = 0;
    return;
  }
  auto* info = redis::GetServerInfo(context, "memory");
  limit = static_cast<int64_t>(redis::ServerInfoGetFieldUnsigned(info, "maxmemory", nullptr));
  const char* policy = redis::ServerInfoGetFieldC(info, "maxmemory_policy");
  if (policy != nullptr && std::string_view(policy).starts_with("allkeys")) limit = 0;
  redis::FreeServerInfo(context, info);
}

int64_t StandardBytes() {
  static const int64_t machine = MachineBytes();
  return limit > 0 ? Share() : machine / kMachineShare;
}

void EndMemoryPromise(uint64_t client) { promises.End(client); }

// PENSTOCK.ROOM key bytes [WRITING] [TIMEOUT ms]: without a time it is promised only where there is plenty.
int Room(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 3) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  std::string_view key = words.Next();
  auto bytes = ParseBytes(&words);
  if (!bytes.ok()) return Reply(context, bytes.status());
  bool writing = words.Take("WRITING");
  auto wait = ParseTimeout(&words);
  if (!wait.ok()) return Reply(context, wait.status());
  Status status = writing ? CheckMetadataKey(key) : Status::Ok();
  if (!status.ok()) return Reply(context, status);
  if (IsInScript(context)) return Reply(context, RefuseInScript());
  if (writing) NoteWriting(context, key);
  if (limit < 0) MeasureMemoryLimit(context);
  uint64_t client = redis::GetClientId(context);
  int64_t needed = kOnItsWay * *bytes;
  promises.End(client);
  if (*wait == 0) {
    bool plenty = waiters.empty() && Fits(client, needed, Share() / kPlentyShare);
    return plenty ? Promise(context, needed) : redis::ReplyWithLongLong(context, 0);
  }
  if (waiters.empty() && Fits(client, needed, Share())) return Promise(context, needed);
  if (needed > Share() || !MayBlock(context)) return ReplyNoRoom(context, needed);
  auto* blocked = redis::BlockClient(context, OnReply, OnTimeout, nullptr, *wait);
  redis::SetDisconnectCallback(blocked, OnDisconnect);
  waiters.push_back({blocked, client, needed});
  if (!std::exchange(is_looking, true)) redis::CreateTimer(context, kLookMs, Look, nullptr);
  return redis::kOk;
}

}  // namespace penstock

#include "stream_waiting.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>

#include "machine_memory.h"
#include "memory_room.h"
#include "module_state.h"
#include "reply.h"

namespace penstock {
namespace {

constexpr long long kSweepMs = 50;

struct Waiter {
  RedisModuleBlockedClient* blocked;
  uint64_t client;
  std::string entry;
  int64_t bytes;
};

struct Line {
  Promises promises;
  std::deque<Waiter> waiters;
  int64_t stuck_at = -1;  // `freed_from` when the last sweep found something to be removed
  uint64_t told = 0;      // who was first, and has left the line to remove it
  bool IsIdle() const { return promises.empty() && waiters.empty() && told == 0; }
};

// Never deleted, as all that the module keeps for as long as the server lives.
std::map<StreamKey, Line>& lines() {
  static auto* map = new std::map<StreamKey, Line>;
  return *map;
}

// Of a stream whose line is idle: none of its own.
const Line& Find(const StreamKey& key) {
  static const Line idle;
  auto found = lines().find(key);
  return found == lines().end() ? idle : found->second;
}

void ForgetIdle() {
  std::erase_if(lines(), [](const auto& one) { return one.second.IsIdle(); });
}

// What a client is answered that has waited.
struct Outcome {
  std::optional<StreamState::Removal> removal;  // none: go
};

int OnReply(RedisModuleCtx* context, RedisModuleString**, int) {
  auto* outcome = static_cast<Outcome*>(redis::GetBlockedClientPrivateData(context));
  return outcome->removal ? ReplyRemove(context, *outcome->removal) : ReplyGo(context);
}

void OnFree(RedisModuleCtx*, void* data) { delete static_cast<Outcome*>(data); }

// Takes the waiter of a blocked client out of its line; none when it was served.
std::optional<StreamKey> Leave(RedisModuleBlockedClient* blocked) {
  for (auto& [key, line] : lines()) {
    auto found = std::find_if(line.waiters.begin(), line.waiters.end(),
                              [&](const Waiter& one) { return one.blocked == blocked; });
    if (found == line.waiters.end()) continue;
    line.waiters.erase(found);
    redis::UnblockClient(blocked, nullptr);  // the server frees it by that, whatever ended the wait
    return key;
  }
  return std::nullopt;
}

int OnTimeout(RedisModuleCtx* context, RedisModuleString**, int) {
  auto key = Leave(redis::GetBlockedClientHandle(context));
  if (!key) return Reply(context, Status::Coded("STREAMFULL", "the wait for room has ended"));
  auto stream = StreamState::Read(context, key->second, StandardBound());
  if (!stream.ok()) return Reply(context, stream.status());
  return ReplyFull(context, &*stream, PromisesOf(*key).load());
}

void OnDisconnect(RedisModuleCtx*, RedisModuleBlockedClient* blocked) { (void)Leave(blocked); }

void Wake(const Waiter& waiter, std::optional<StreamState::Removal> removal) {
  redis::UnblockClient(waiter.blocked, new Outcome{std::move(removal)});
}

// Nobody has removed anything since the last sweep: the first in the line is to do it.
void TellToRemove(StreamState* stream, Line* line) {
  bool stuck = std::exchange(line->stuck_at, stream->meter.freed_from) == stream->meter.freed_from;
  if (!stuck) return;
  auto removal = stream->NextRemoval(line->promises);
  if (removal.upto == 0) return;
  line->told = line->waiters.front().client;
  Wake(line->waiters.front(), std::move(removal));
  line->waiters.pop_front();
}

bool is_sweeping = false;

void Sweep(RedisModuleCtx* context, void*) {
  is_sweeping = false;
  bool wait = false;
  for (auto& [key, line] : lines()) {
    if (line.waiters.empty()) continue;
    redis::SelectDb(context, key.first);
    auto stream = StreamState::Read(context, key.second, StandardBound());
    if (!stream.ok()) continue;  // somebody has put another kind of value there; the waits end in time
    ServeWaiting(&*stream, key);
    if (!line.waiters.empty() && stream->HasRemovals()) TellToRemove(&*stream, &line);
    wait |= !line.waiters.empty();
  }
  ForgetIdle();
  if (!wait) return;
  is_sweeping = true;
  redis::CreateTimer(context, kSweepMs, Sweep, nullptr);
}

void SweepSoon(RedisModuleCtx* context, long long ms) {
  if (std::exchange(is_sweeping, true)) return;
  redis::CreateTimer(context, ms, Sweep, nullptr);
}

}  // namespace

void EndPromises(uint64_t client) {
  EndMemoryPromise(client);
  for (auto& [key, line] : lines()) {
    line.promises.End(client);
    if (line.told == client) line.told = 0;
  }
  ForgetIdle();
}

const Promises& PromisesOf(const StreamKey& key) { return Find(key).promises; }

void Promise(const StreamKey& key, uint64_t client, int64_t bytes, std::string entry) {
  lines()[key].promises.Make(client, bytes, std::move(entry));
}

void EndPromise(const StreamKey& key, uint64_t client) {
  auto found = lines().find(key);
  if (found == lines().end()) return;
  found->second.promises.End(client);
  if (found->second.IsIdle()) lines().erase(found);
}

bool IsNext(const StreamKey& key, uint64_t client) {
  const Line& line = Find(key);
  return line.waiters.empty() || line.told == client;
}

void TakeTurn(const StreamKey& key, uint64_t client) {
  auto found = lines().find(key);
  if (found != lines().end() && found->second.told == client) found->second.told = 0;
}

int64_t CountWaiting(const StreamKey& key) { return static_cast<int64_t>(Find(key).waiters.size()); }

std::vector<std::string> EntriesWaiting(const StreamKey& key) {
  std::vector<std::string> entries;
  for (const Waiter& waiter : Find(key).waiters) entries.push_back(waiter.entry);
  return entries;
}

const Bound& StandardBound() {
  static Bound bound;
  bound.bytes = StandardBytes();
  return bound;
}

int ReplyGo(RedisModuleCtx* context) {
  redis::ReplyWithArray(context, 1);
  return ReplyText(context, "go");
}

int ReplyRemove(RedisModuleCtx* context, const StreamState::Removal& removal) {
  redis::ReplyWithArray(context, static_cast<long>(removal.entries.size() + 2));
  ReplyText(context, "remove");
  redis::ReplyWithLongLong(context, removal.upto);
  for (const std::string& entry : removal.entries) ReplyText(context, entry);
  return redis::kOk;
}

int ReplyFull(RedisModuleCtx* context, StreamState* stream, const Load& promised) {
  std::string text = DescribeFull(stream->meter, promised, stream->consumers(), stream->announced());
  return Reply(context, Status::Coded("STREAMFULL", text));
}

void WaitForRoom(RedisModuleCtx* context, const StreamKey& key, const std::string& entry, int64_t bytes,
                 int64_t wait_ms) {
  uint64_t client = redis::GetClientId(context);
  auto* blocked = redis::BlockClient(context, OnReply, OnTimeout, OnFree, wait_ms);
  redis::SetDisconnectCallback(blocked, OnDisconnect);
  Line& line = lines()[key];
  Waiter waiter{blocked, client, entry, bytes};
  if (std::exchange(line.told, line.told == client ? 0 : line.told) == client)
    line.waiters.push_front(std::move(waiter));
  else
    line.waiters.push_back(std::move(waiter));
  SweepSoon(context, kSweepMs);
}

void ServeWaiting(StreamState* stream, const StreamKey& key) {
  stream->meter.waiting = 0;
  auto found = lines().find(key);
  if (found == lines().end()) return;
  Line& line = found->second;
  while (!line.waiters.empty()) {
    const Waiter& first = line.waiters.front();
    Load load{stream->meter.items + line.promises.load().items,
              stream->meter.bytes + line.promises.load().bytes};
    if (!HasRoom(stream->meter.bound, load, first.bytes)) break;
    line.promises.Make(first.client, first.bytes, first.entry);
    Wake(first, std::nullopt);
    line.waiters.pop_front();
  }
  stream->meter.waiting = static_cast<int64_t>(line.waiters.size());
}

}  // namespace penstock

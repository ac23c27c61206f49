#include "blocked.h"

#include <unordered_map>

#include "held_string.h"
#include "write_pause.h"

namespace penstock {
namespace {

// Whose disconnection tells whom. Main thread only.
std::unordered_map<RedisModuleBlockedClient*, Blocked*>& waiting() {
  static auto* map = new std::unordered_map<RedisModuleBlockedClient*, Blocked*>;
  return *map;
}

}  // namespace

Blocked::Blocked(RedisModuleCtx* context)
    : client_(redis::BlockClient(context, OnReply, nullptr, OnFree, 0)),
      database_(redis::GetSelectedDb(context)) {
  redis::SetDisconnectCallback(client_, OnDisconnect);
  waiting()[client_] = this;
}

// One that was never delivered: the server is leaving.
Blocked::~Blocked() {
  if (!finished_) waiting().erase(client_);
}

void Blocked::Deliver(std::unique_ptr<Blocked> self) {
  Blocked* blocked = self.release();  // the server frees it, by OnFree
  auto unblock = [blocked] { redis::UnblockClient(blocked->client_, blocked); };
  if (!blocked->Writes() || !HoldInPause(unblock)) unblock();
}

void BlockedTask::Deliver(std::unique_ptr<Task> self) {
  self.release();
  Blocked::Deliver(std::unique_ptr<Blocked>(this));
}

void Blocked::FinishOnce() {
  if (finished_) return;
  finished_ = true;
  waiting().erase(client_);
  Finish();
}

int Blocked::OnReply(RedisModuleCtx* context, RedisModuleString**, int) {
  auto* blocked = static_cast<Blocked*>(redis::GetBlockedClientPrivateData(context));
  blocked->FinishOnce();
  return blocked->Answer(context);
}

void Blocked::OnFree(RedisModuleCtx*, void* data) {
  std::unique_ptr<Blocked> blocked(static_cast<Blocked*>(data));
  blocked->FinishOnce();
  ReleaseDropped();
}

void Blocked::OnDisconnect(RedisModuleCtx*, RedisModuleBlockedClient* client) {
  auto found = waiting().find(client);
  if (found != waiting().end()) found->second->OnGone();
}

}  // namespace penstock

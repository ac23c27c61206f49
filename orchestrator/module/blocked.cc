#include "blocked.h"

#include <unordered_map>

#include "held_string.h"

namespace penstock {
namespace {

// Whose disconnection means which task. Main thread only.
std::unordered_map<RedisModuleBlockedClient*, BlockedTask*>& waiting() {
  static auto* map = new std::unordered_map<RedisModuleBlockedClient*, BlockedTask*>;
  return *map;
}

}  // namespace

BlockedTask::BlockedTask(RedisModuleCtx* context)
    : client_(redis::BlockClient(context, OnReply, nullptr, OnFree, 0)),
      database_(redis::GetSelectedDb(context)) {
  redis::SetDisconnectCallback(client_, OnDisconnect);
  waiting()[client_] = this;
}

// A task that was never delivered: the server is leaving.
BlockedTask::~BlockedTask() {
  if (!finished_) waiting().erase(client_);
}

void BlockedTask::Deliver(std::unique_ptr<Task> self) {
  self.release();  // the server frees it, by OnFree
  redis::UnblockClient(client_, this);
}

void BlockedTask::FinishOnce() {
  if (finished_) return;
  finished_ = true;
  waiting().erase(client_);
  Finish();
}

int BlockedTask::OnReply(RedisModuleCtx* context, RedisModuleString**, int) {
  auto* task = static_cast<BlockedTask*>(redis::GetBlockedClientPrivateData(context));
  task->FinishOnce();
  return task->Answer(context);
}

void BlockedTask::OnFree(RedisModuleCtx*, void* data) {
  std::unique_ptr<BlockedTask> task(static_cast<BlockedTask*>(data));
  task->FinishOnce();
  ReleaseDropped();
}

void BlockedTask::OnDisconnect(RedisModuleCtx*, RedisModuleBlockedClient* client) {
  auto found = waiting().find(client);
  if (found != waiting().end()) found->second->abandoned_ = true;
}

}  // namespace penstock

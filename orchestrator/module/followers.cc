#include "followers.h"

#include "arguments.h"
#include "held_string.h"

namespace penstock {
namespace {

bool nobody = false;  // no replica has asked for a copy since the server said so

void OnCommand(RedisModuleCommandFilterCtx* filter) {
  size_t size = 0;
  redis::StringPtrLen(redis::CommandFilterArgGet(filter, 0), &size);
  if (size != 4 && size != 5) return;
  std::string name = UpperCase(View(redis::CommandFilterArgGet(filter, 0)));
  if (name == "SYNC" || name == "PSYNC") nobody = false;
}

void OnRole(RedisModuleCtx*, redis::Event, uint64_t, void*) { nobody = false; }

bool HasBacklog(RedisModuleCtx* context) {
  if (redis::GetServerInfo == nullptr) return true;  // perhaps
  auto* info = redis::GetServerInfo(context, "replication");
  bool active = redis::ServerInfoGetFieldUnsigned(info, "repl_backlog_active", nullptr) != 0;
  redis::FreeServerInfo(context, info);
  return active;
}

}  // namespace

bool WatchForFollowers(RedisModuleCtx* context) {
  return redis::RegisterCommandFilter(context, OnCommand, redis::kNotFromOurselves) != nullptr &&
         redis::SubscribeToServerEvent(context, redis::kRoleEvent, OnRole) == redis::kOk;
}

bool SomebodyFollows(RedisModuleCtx* context) {
  if ((redis::GetContextFlags(context) & redis::kAppendOnlyFile) != 0) return true;
  nobody = nobody || !HasBacklog(context);
  return !nobody;
}

}  // namespace penstock

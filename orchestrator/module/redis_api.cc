#include "redis_api.h"

#include <string>

namespace penstock::redis {

#define PENSTOCK_DEFINE(result, name, parameters) result(*name) parameters = nullptr;
PENSTOCK_REDIS_REQUIRED(PENSTOCK_DEFINE)
PENSTOCK_REDIS_OPTIONAL(PENSTOCK_DEFINE)
#undef PENSTOCK_DEFINE

namespace {

using GetApi = int (*)(const char*, void*);

Status Missing(const char* name) {
  return Status::Error(std::string("this Redis has no RedisModule_") + name +
                       ": version 6.2 or newer is needed");
}

}  // namespace

Status Bind(RedisModuleCtx* context) {
  auto get = *reinterpret_cast<GetApi*>(context);
#define PENSTOCK_BIND(result, name, parameters) \
  if (get("RedisModule_" #name, static_cast<void*>(&name)) != kOk) return Missing(#name);
  PENSTOCK_REDIS_REQUIRED(PENSTOCK_BIND)
#undef PENSTOCK_BIND
#define PENSTOCK_BIND(result, name, parameters) \
  if (get("RedisModule_" #name, static_cast<void*>(&name)) != kOk) name = nullptr;
  PENSTOCK_REDIS_OPTIONAL(PENSTOCK_BIND)
#undef PENSTOCK_BIND
  return Status::Ok();
}

}  // namespace penstock::redis

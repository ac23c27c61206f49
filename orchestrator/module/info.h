// The module's sections of INFO MODULES.
#pragma once

#include "redis_api.h"

namespace penstock {

void AddInfo(RedisModuleInfoCtx* info, int for_crash_report);

}  // namespace penstock

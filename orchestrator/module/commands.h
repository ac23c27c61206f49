// Every command of the module: defined in its own *_commands.cc, entered in the table of module.cc.
#pragma once

#include "redis_api.h"

namespace penstock {

int TensorSet(RedisModuleCtx*, RedisModuleString**, int);
int TensorGet(RedisModuleCtx*, RedisModuleString**, int);
int ModelStore(RedisModuleCtx*, RedisModuleString**, int);
int ModelSet(RedisModuleCtx*, RedisModuleString**, int);
int ModelGet(RedisModuleCtx*, RedisModuleString**, int);
int Promote(RedisModuleCtx*, RedisModuleString**, int);
int ModelDel(RedisModuleCtx*, RedisModuleString**, int);
int ModelExecute(RedisModuleCtx*, RedisModuleString**, int);
int ModelRun(RedisModuleCtx*, RedisModuleString**, int);
int ScriptStore(RedisModuleCtx*, RedisModuleString**, int);
int ScriptSet(RedisModuleCtx*, RedisModuleString**, int);
int ScriptGet(RedisModuleCtx*, RedisModuleString**, int);
int ScriptDel(RedisModuleCtx*, RedisModuleString**, int);
int ScriptExecute(RedisModuleCtx*, RedisModuleString**, int);
int ScriptRun(RedisModuleCtx*, RedisModuleString**, int);
int DagExecute(RedisModuleCtx*, RedisModuleString**, int);
int DagExecuteReadOnly(RedisModuleCtx*, RedisModuleString**, int);
int DagRun(RedisModuleCtx*, RedisModuleString**, int);
int DagRunReadOnly(RedisModuleCtx*, RedisModuleString**, int);
int ModelScan(RedisModuleCtx*, RedisModuleString**, int);
int ScriptScan(RedisModuleCtx*, RedisModuleString**, int);
int RunInfo(RedisModuleCtx*, RedisModuleString**, int);
int Config(RedisModuleCtx*, RedisModuleString**, int);
int StreamBound(RedisModuleCtx*, RedisModuleString**, int);
int StreamReserve(RedisModuleCtx*, RedisModuleString**, int);
int StreamRelease(RedisModuleCtx*, RedisModuleString**, int);
int StreamAnnounce(RedisModuleCtx*, RedisModuleString**, int);
int StreamSubscribe(RedisModuleCtx*, RedisModuleString**, int);
int StreamUnsubscribe(RedisModuleCtx*, RedisModuleString**, int);
int StreamAcknowledge(RedisModuleCtx*, RedisModuleString**, int);
int StreamFreed(RedisModuleCtx*, RedisModuleString**, int);
int DatasetBegin(RedisModuleCtx*, RedisModuleString**, int);
int DatasetComplete(RedisModuleCtx*, RedisModuleString**, int);
int StreamMeter(RedisModuleCtx*, RedisModuleString**, int);
int Room(RedisModuleCtx*, RedisModuleString**, int);
int ArenaIntroduce(RedisModuleCtx*, RedisModuleString**, int);
int ArenaLease(RedisModuleCtx*, RedisModuleString**, int);
int ArenaPut(RedisModuleCtx*, RedisModuleString**, int);
int ArenaMap(RedisModuleCtx*, RedisModuleString**, int);
int ArenaRelease(RedisModuleCtx*, RedisModuleString**, int);

}  // namespace penstock

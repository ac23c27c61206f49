// The arena of this server: its memory, its threads, and what the server tells it.
//
// DESIGN
//   Made at load where ARENA asks for one, and never deleted, like ModuleState. A thread takes the memory
//   from the system piece by piece, as it is wanted; what is not yet taken is not given out. Another sleeps
//   until a client's process ends, a third until the time of one who waits is over; both rest until there is
//   one. The server tells when connections end, and when a child is forked and has ended.
#pragma once

#include <atomic>
#include <memory>

#include "arena.h"
#include "arena_clients.h"
#include "process_watch.h"
#include "redis_api.h"
#include "watch.h"
#include "work_queue.h"

namespace penstock {

struct ArenaService {
  ArenaService(std::unique_ptr<SharedMemory> memory, std::unique_ptr<ProcessWatch> processes);
  Arena arena;
  std::unique_ptr<ProcessWatch> processes;
  Watch deadlines;
  ArenaClients clients;
  WorkQueue populating;
  std::atomic<bool> populates = false;  // a task does, or is about to
  std::atomic<bool> stopping = false;
};

/// Null when there is no arena.
ArenaService* arena_service();
/// Makes one of that many MB, none when it is 0. With kArenaAuto one of half the host's memory, or none where
/// the system does not let us, which the log says.
Status StartArena(RedisModuleCtx* context, int64_t megabytes);
/// True when its threads have left before `deadline`.
bool StopArena(Clock::time_point deadline);

}  // namespace penstock

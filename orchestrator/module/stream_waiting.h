// Producers that wait for room in a stream, first come first served, and the room that was promised to them.
//
// DESIGN
//   A promise and a wait belong to a connection and end with it, so that a client that is killed leaves
//   nothing behind; a server that starts again has none. Who waits is served when room is made by a command,
//   when a promise ends, and a few times a second: then the first in the line is told to remove what another
//   client was to remove and did not. A stream that nobody waits for, and of which nothing is promised, takes
//   no memory here. Main thread only.
#pragma once

#include <string>

#include "flow.h"
#include "redis_api.h"
#include "stream_state.h"

namespace penstock {

/// Which stream: the database and the name.
using StreamKey = std::pair<int, std::string>;

/// The client has left: what it was promised ends, of streams and of memory.
void EndPromises(uint64_t client);

/// What is promised of a stream.
const Promises& PromisesOf(const StreamKey& key);
void Promise(const StreamKey& key, uint64_t client, int64_t bytes, std::string entry = "");
void EndPromise(const StreamKey& key, uint64_t client);
/// Whether no other client waits before this one, which may have left the line to make room.
bool IsNext(const StreamKey& key, uint64_t client);
/// The client has its place.
void TakeTurn(const StreamKey& key, uint64_t client);
int64_t CountWaiting(const StreamKey& key);
/// What they wait to announce, in their order.
std::vector<std::string> EntriesWaiting(const StreamKey& key);

/// What a stream without a bound is bounded by.
const Bound& StandardBound();

/// Replies to who asked for room.
int ReplyGo(RedisModuleCtx* context);
int ReplyRemove(RedisModuleCtx* context, const StreamState::Removal& removal);
int ReplyFull(RedisModuleCtx* context, StreamState* stream, const Load& promised);

/// Blocks the client of `context` until there is room, for `wait_ms` at most.
void WaitForRoom(RedisModuleCtx* context, const StreamKey& key, const std::string& entry, int64_t bytes,
                 int64_t wait_ms);
/// Promises room to those who wait, in their order, as far as there is any.
void ServeWaiting(StreamState* stream, const StreamKey& key);

}  // namespace penstock

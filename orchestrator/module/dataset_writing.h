// Datasets of streams that their producers are writing, so that one who is killed leaves nothing: its dataset
// is removed, metadata and tensors, a moment after its connection has ended.
//
// DESIGN
//   All keys of a dataset are in one slot, so the shard that has them removes them itself, whatever the shard
//   of the stream is. Who writes is kept in the module's memory only (writings.h). Whoever announces a
//   dataset that was removed meanwhile is told so by GONE, and writes it again. One that replaces a complete
//   dataset is not noted: its keys belong to the position that has been announced. Main thread only.
#pragma once

#include <string_view>

#include "redis_api.h"
#include "status.h"

namespace penstock {

/// Whether a key has the form of one with the metadata of a dataset.
Status CheckMetadataKey(std::string_view key);
/// The client of `context` is going to write a dataset, whose metadata is in `key`.
void NoteWriting(RedisModuleCtx* context, std::string_view key);
/// Whether there is a dataset to be called complete: else GONE, or WRONGTYPE.
Status CheckIsThere(RedisModuleCtx* context, std::string_view key);
/// Calls a dataset complete, which is there.
Status CompleteDataset(RedisModuleCtx* context, std::string_view key);
/// The client has left, or failed: what it was writing is to be removed.
void GiveUpWriting(uint64_t client);

}  // namespace penstock

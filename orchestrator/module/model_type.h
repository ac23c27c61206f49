// Models as values of Redis keys: the native type AI__MODEL.
#pragma once

#include "held_string.h"
#include "model.h"
#include "redis_api.h"

namespace penstock {

bool RegisterModelType(RedisModuleCtx* context);

/// Not loaded yet, and in no key; `before` is what the key held or is about to hold (loading.h).
ModelPtr MakeModel(std::shared_ptr<const ModelDefinition> definition, ModelPtr before);

/// What the key holds, else what is being loaded for it, else null.
Result<ModelPtr> FindModel(RedisModuleCtx* context, RedisModuleString* key);
/// What the key holds; says that it is empty when it is.
Result<ModelPtr> GetStoredModel(RedisModuleCtx* context, RedisModuleString* key);
/// Like FindModel, for running: says that there is none when there is none.
Result<ModelPtr> GetModel(RedisModuleCtx* context, RedisModuleString* key);
/// What an opened key holds, as long as it is open; null when that is something else.
const Model* ModelIn(RedisModuleKey* key);
Status SetModel(RedisModuleCtx* context, RedisModuleString* key, ModelPtr model);
Status DeleteModel(RedisModuleCtx* context, RedisModuleString* key);

/// The size of the pieces in which its file is returned and saved: MODEL_CHUNK_SIZE, which any client may
/// set, or more where that would make too many for the main thread.
size_t ChunkBytes(const ModelDefinition& model);
/// The file in such pieces, to be replicated or written to the append-only file.
void AddFileWords(const ModelDefinition& model, std::vector<HeldString>* words);

}  // namespace penstock

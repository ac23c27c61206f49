// What AI.TENSORSET and AI.TENSORGET do, for the steps of a DAG too.
#pragma once

#include "redis_api.h"
#include "tensor_words.h"

namespace penstock {

/// What becomes of a BLOB; see held_string.h for when other threads may read one that is held.
enum class BlobBytes { kHeld, kCopied };

/// `argv` has the words that were parsed.
Result<TensorPtr> MakeTensor(const TensorSetWords& words, RedisModuleString** argv, BlobBytes blob);
int ReplyTensor(RedisModuleCtx* context, const Tensor& tensor, const TensorForm& form);

}  // namespace penstock

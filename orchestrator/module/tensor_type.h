// Tensors as values of Redis keys: the native type AI_TENSOR.
#pragma once

#include <vector>

#include "held_string.h"
#include "redis_api.h"
#include "tensor.h"

namespace penstock {

bool RegisterTensorType(RedisModuleCtx* context);

/// Null when the key is empty.
Result<TensorPtr> FindTensor(RedisModuleCtx* context, RedisModuleString* key);
/// Says that the key is empty when it is.
Result<TensorPtr> GetTensor(RedisModuleCtx* context, RedisModuleString* key);
Status SetTensor(RedisModuleCtx* context, RedisModuleString* key, TensorPtr tensor);
/// Sends the tensor to replicas and to the append-only file as AI.TENSORSET.
void ReplicateTensor(RedisModuleCtx* context, RedisModuleString* key, const Tensor& tensor);

}  // namespace penstock

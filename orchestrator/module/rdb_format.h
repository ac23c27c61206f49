// What tensors, models and scripts look like in an RDB file and in a DUMP: RedisAI's encoding.
//
// DESIGN
//   Knows no Redis: it reads from an RdbInput and writes to an RdbOutput, which rdb.h connects with a server
//   and the tests with bytes. Written is version 4, as by RedisAI 1.2.7; read are 0 to 4, all that RedisAI
//   ever wrote. A file may come from anywhere (RESTORE), so every count ends with the input and every value
//   is checked as it would be in a command.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "memory.h"
#include "model.h"
#include "script.h"
#include "status.h"
#include "tensor.h"

namespace penstock {

inline constexpr int kRdbVersion = 4;

class RdbInput {
 public:
  /// False once something could not be read; every further read gives zero or null.
  virtual bool ok() const = 0;
  virtual uint64_t Unsigned() = 0;
  virtual int64_t Signed() = 0;
  /// Null when there are none.
  virtual BufferPtr Bytes() = 0;

 protected:
  ~RdbInput() = default;
};

class RdbOutput {
 public:
  virtual void Unsigned(uint64_t value) = 0;
  virtual void Signed(int64_t value) = 0;
  virtual void Bytes(std::string_view bytes) = 0;

 protected:
  ~RdbOutput() = default;
};

Result<TensorPtr> ReadTensor(RdbInput* input, int version);
Result<ModelDefinition> ReadModel(RdbInput* input, int version);
Result<ScriptDefinition> ReadScript(RdbInput* input, int version);

void WriteTensor(RdbOutput* output, const Tensor& tensor);
/// `inputs` may be known better than by the definition; the file is cut into chunks, however it came.
void WriteModel(RdbOutput* output, const ModelDefinition& model, const std::vector<std::string>& inputs,
                size_t chunk_bytes);
void WriteScript(RdbOutput* output, const ScriptDefinition& script);

}  // namespace penstock

// What the module was told when it was loaded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"

namespace penstock {

struct Options {
  int64_t threads_per_queue = 1;
  int64_t intra_op_threads = 0;  // 0: one per worker
  int64_t inter_op_threads = 0;  // 0: torch's own choice
  int64_t model_chunk_bytes = 535822336;
  int64_t execution_timeout_ms = 5000;  // RedisAI's; torch runs cannot be interrupted
  int64_t backend_memory_limit_mb = 0;  // RedisAI's; ONNX only
  std::string backends_path;            // where backend files are looked for, else beside the module
  std::string torch_backend;            // path of backend_torch.so
  std::string torch_libraries;          // directory of libtorch_cpu.so
  std::string torch_version;            // of those libraries
  bool preload_torch = false;
  std::vector<std::string> without_effect;  // keys that were given for RedisAI's sake
};

/// `KEY VALUE` pairs, keys in any case. An error names the word that is wrong.
Result<Options> ParseOptions(const std::vector<std::string_view>& words);

}  // namespace penstock

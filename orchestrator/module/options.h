// What the module was told when it was loaded.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend.h"
#include "status.h"

namespace penstock {

/// The libraries that run models. Each has a backend file of ours.
enum class Engine : uint8_t { kTorch, kOpenvino, kOnnxruntime };
inline constexpr Engine kEngines[] = {Engine::kTorch, Engine::kOpenvino, Engine::kOnnxruntime};
/// As in the module's arguments.
const char* EngineName(Engine engine);
std::optional<Engine> ParseEngine(std::string_view name);

struct EngineOptions {
  std::string backend;    // our file, else the one with its usual name beside the module
  std::string libraries;  // directory of the library itself; empty: the system's search finds it
  std::string version;    // of that library; empty: any
};

/// In place of a folder.
inline constexpr const char* kInMemory = "memory";

/// In place of a size.
inline constexpr int64_t kArenaAuto = -1;

struct Options {
  int64_t threads_per_queue = 1;
  int64_t intra_op_threads = 0;  // 0: one per worker
  int64_t inter_op_threads = 0;  // 0: the engine's own choice
  int64_t model_chunk_bytes = 535822336;
  int64_t execution_timeout_ms = 5000;  // of ONNX models, as in RedisAI; of all runs when it was given
  bool execution_timeout_given = false;
  int64_t store_timeout_ms = 150;       // a store is answered after that, loaded or not
  int64_t backend_memory_limit_mb = 0;  // 0: none
  int64_t arena_mb = 0;                 // of memory that clients on this host map; 0: none, or kArenaAuto
  std::string backends_path;            // where backend files are looked for, else beside the module
  std::string model_files;              // the folder of large ones, else the system's; or kInMemory
  std::array<EngineOptions, std::size(kEngines)> engines;
  std::optional<Engine> onnx_engine;        // what runs ONNX models; none: whichever is there
  std::vector<Engine> preload;              // opened in the background at start
  bool freeze = false;                      // optimize TorchScript models when they are loaded
  bool gpu_on_cpu = false;                  // models and scripts for GPUs run on the CPU: for tests, laptops
  bool native_models = false;               // allow models that are compiled code (AOTInductor)
  std::vector<std::string> without_effect;  // keys that were given for RedisAI's sake

  EngineOptions& engine(Engine which) { return engines[static_cast<size_t>(which)]; }
  const EngineOptions& engine(Engine which) const { return engines[static_cast<size_t>(which)]; }
  /// How long one run may take: MODEL_EXECUTION_TIMEOUT, for ONNX models, and for all when it was given.
  std::optional<std::chrono::milliseconds> RunLimit(BackendKind kind) const;
};

/// `KEY VALUE` pairs, keys in any case. An error names the word that is wrong.
Result<Options> ParseOptions(const std::vector<std::string_view>& words);

}  // namespace penstock

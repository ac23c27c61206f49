#include "options.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "arguments.h"

namespace penstock {
namespace {

struct NumberOption {
  const char* key;
  int64_t Options::* value;
  int64_t least;
  int64_t most;
};

constexpr int64_t kDecadesInMs = 1'000'000'000'000;  // what is later than that overflows some clock
constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
constexpr NumberOption kNumbers[] = {
    {"THREADS_PER_QUEUE", &Options::threads_per_queue, 1, 1024},
    {"INTRA_OP_PARALLELISM", &Options::intra_op_threads, 0, 1024},
    {"INTER_OP_PARALLELISM", &Options::inter_op_threads, 0, 1024},
    {"MODEL_CHUNK_SIZE", &Options::model_chunk_bytes, 1, kNoLimit},
    {"MODEL_EXECUTION_TIMEOUT", &Options::execution_timeout_ms, 1000, kDecadesInMs},
    {"MODEL_STORE_TIMEOUT", &Options::store_timeout_ms, 0, kDecadesInMs},
    {"BACKEND_MEMORY_LIMIT", &Options::backend_memory_limit_mb, 0, kNoLimit >> 20},
    {"ARENA", &Options::arena_mb, 0, kNoLimit >> 20},
};

constexpr const char* kEngineNames[] = {"TORCH", "OPENVINO", "ONNXRUNTIME"};

// After the engine's name, as in TORCH_LIBRARIES.
struct EngineOption {
  const char* suffix;
  std::string EngineOptions::* value;
};

constexpr EngineOption kEngineOptions[] = {
    {"", &EngineOptions::backend},
    {"_LIBRARIES", &EngineOptions::libraries},
    {"_VERSION", &EngineOptions::version},
};

struct Switch {
  const char* key;
  bool Options::* value;
};

constexpr Switch kSwitches[] = {{"FREEZE", &Options::freeze},
                                {"AOTINDUCTOR", &Options::native_models},
                                {"GPU_ON_CPU", &Options::gpu_on_cpu}};

// Backends of RedisAI that SmartRedis' own launcher names; nothing here opens them.
constexpr const char* kAccepted[] = {"TF", "TFLITE", "ONNX"};

bool IsAccepted(const std::string& key) {
  return std::any_of(std::begin(kAccepted), std::end(kAccepted),
                     [&](const char* name) { return EqualsAnyCase(key, name); });
}

Status AddPreload(const std::string& value, Options* options) {
  auto engine = ParseEngine(value);
  if (!engine) return Status::Error("PRELOAD: unknown backend '" + value + "'");
  options->preload.push_back(*engine);
  return Status::Ok();
}

Status SetOnnxEngine(const std::string& value, Options* options) {
  auto engine = ParseEngine(value);
  if (!engine || *engine == Engine::kTorch) {
    return Status::Error("ONNX_BACKEND: '" + value + "' is neither OPENVINO nor ONNXRUNTIME");
  }
  options->onnx_engine = engine;
  return Status::Ok();
}

Status SetSwitch(const Switch& option, const std::string& value, Options* options) {
  bool yes = EqualsAnyCase(value, "yes");
  if (!yes && !EqualsAnyCase(value, "no")) {
    return Status::Error(std::string(option.key) + ": '" + value + "' is neither yes nor no");
  }
  options->*option.value = yes;
  return Status::Ok();
}

Status SetNumber(const NumberOption& option, const std::string& value, Options* options) {
  auto number = ParseInteger(value);
  if (!number || *number < option.least || *number > option.most) {
    std::string range = option.most == kNoLimit ? "of at least " + std::to_string(option.least)
                                                : "between " + std::to_string(option.least) + " and " +
                                                      std::to_string(option.most);
    return Status::Error(std::string(option.key) + ": '" + value + "' is not a number " + range);
  }
  options->*option.value = *number;
  if (option.value == &Options::execution_timeout_ms) options->execution_timeout_given = true;
  return Status::Ok();
}

// Where an option that is a text goes; null when `key` is none.
std::string* TextOption(const std::string& key, Options* options) {
  for (Engine engine : kEngines) {
    for (const EngineOption& option : kEngineOptions) {
      if (EqualsAnyCase(key, std::string(EngineName(engine)) + option.suffix))
        return &(options->engine(engine).*option.value);
    }
  }
  if (EqualsAnyCase(key, "BACKENDSPATH")) return &options->backends_path;
  return EqualsAnyCase(key, "MODEL_FILES") ? &options->model_files : nullptr;
}

Status Set(const std::string& key, const std::string& value, Options* options) {
  if (EqualsAnyCase(key, "ARENA") && EqualsAnyCase(value, "AUTO")) {
    options->arena_mb = kArenaAuto;
    return Status::Ok();
  }
  for (const NumberOption& option : kNumbers) {
    if (EqualsAnyCase(key, option.key)) return SetNumber(option, value, options);
  }
  for (const Switch& option : kSwitches) {
    if (EqualsAnyCase(key, option.key)) return SetSwitch(option, value, options);
  }
  if (std::string* text = TextOption(key, options)) {
    *text = value;
    return Status::Ok();
  }
  if (EqualsAnyCase(key, "PRELOAD")) return AddPreload(value, options);
  if (EqualsAnyCase(key, "ONNX_BACKEND")) return SetOnnxEngine(value, options);
  if (!IsAccepted(key)) return Status::Error("unknown module argument '" + key + "'");
  options->without_effect.push_back(UpperCase(key));
  return Status::Ok();
}

}  // namespace

const char* EngineName(Engine engine) { return kEngineNames[static_cast<size_t>(engine)]; }

std::optional<Engine> ParseEngine(std::string_view name) {
  for (Engine engine : kEngines) {
    if (EqualsAnyCase(name, EngineName(engine))) return engine;
  }
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> Options::RunLimit(BackendKind kind) const {
  if (!execution_timeout_given && kind != BackendKind::kOnnx) return std::nullopt;
  return std::chrono::milliseconds(execution_timeout_ms);
}

Result<Options> ParseOptions(const std::vector<std::string_view>& words) {
  Options options;
  if (words.size() % 2 != 0) {
    return Status::Error("module arguments are KEY VALUE pairs, but '" + std::string(words.back()) +
                         "' has no value");
  }
  for (size_t i = 0; i < words.size(); i += 2) {
    Status status = Set(std::string(words[i]), std::string(words[i + 1]), &options);
    if (!status.ok()) return status;
  }
  return options;
}

}  // namespace penstock

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

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
constexpr NumberOption kNumbers[] = {
    {"THREADS_PER_QUEUE", &Options::threads_per_queue, 1, 1024},
    {"INTRA_OP_PARALLELISM", &Options::intra_op_threads, 0, 1024},
    {"INTER_OP_PARALLELISM", &Options::inter_op_threads, 0, 1024},
    {"MODEL_CHUNK_SIZE", &Options::model_chunk_bytes, 1, kNoLimit},
    {"MODEL_EXECUTION_TIMEOUT", &Options::execution_timeout_ms, 1000, kNoLimit},
    {"BACKEND_MEMORY_LIMIT", &Options::backend_memory_limit_mb, 0, kNoLimit},
};

struct TextOption {
  const char* key;
  std::string Options::* value;
};

constexpr TextOption kTexts[] = {
    {"BACKENDSPATH", &Options::backends_path},
    {"TORCH", &Options::torch_backend},
    {"TORCH_LIBRARIES", &Options::torch_libraries},
    {"TORCH_VERSION", &Options::torch_version},
};

// Backends of RedisAI that SmartRedis' own launcher names; nothing here opens them.
constexpr const char* kAccepted[] = {"TF", "TFLITE", "ONNX"};

// Accepted too; INFO shows them, as RedisAI's does.
constexpr const char* kOnlyShown[] = {"MODEL_EXECUTION_TIMEOUT", "BACKEND_MEMORY_LIMIT"};

bool HasNoEffect(const std::string& key) {
  auto named = [&](const char* name) { return EqualsAnyCase(key, name); };
  return std::any_of(std::begin(kAccepted), std::end(kAccepted), named) ||
         std::any_of(std::begin(kOnlyShown), std::end(kOnlyShown), named);
}

Status SetPreload(const std::string& value, Options* options) {
  if (!EqualsAnyCase(value, "TORCH")) return Status::Error("PRELOAD: unknown backend '" + value + "'");
  options->preload_torch = true;
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
  return Status::Ok();
}

Status Set(const std::string& key, const std::string& value, Options* options) {
  for (const NumberOption& option : kNumbers) {
    if (EqualsAnyCase(key, option.key)) return SetNumber(option, value, options);
  }
  for (const TextOption& option : kTexts) {
    if (!EqualsAnyCase(key, option.key)) continue;
    options->*option.value = value;
    return Status::Ok();
  }
  for (const char* accepted : kAccepted) {
    if (EqualsAnyCase(key, accepted)) return Status::Ok();
  }
  if (EqualsAnyCase(key, "PRELOAD")) return SetPreload(value, options);
  return Status::Error("unknown module argument '" + key + "'");
}

}  // namespace

Result<Options> ParseOptions(const std::vector<std::string_view>& words) {
  Options options;
  if (words.size() % 2 != 0) {
    return Status::Error("module arguments are KEY VALUE pairs, but '" + std::string(words.back()) +
                         "' has no value");
  }
  for (size_t i = 0; i < words.size(); i += 2) {
    Status status = Set(std::string(words[i]), std::string(words[i + 1]), &options);
    if (!status.ok()) return status;
    if (HasNoEffect(std::string(words[i]))) options.without_effect.push_back(UpperCase(words[i]));
  }
  return options;
}

}  // namespace penstock

#include "check.h"
#include "options.h"

using namespace penstock;
using penstock::test::Text;

namespace {

void KeysAreReadInAnyCase() {
  auto options = ParseOptions({"threads_per_queue",
                               "4",
                               "Torch",
                               "/b.so",
                               "TORCH_LIBRARIES",
                               "/lib",
                               "TORCH_VERSION",
                               "2.13.0",
                               "PRELOAD",
                               "torch",
                               "MODEL_CHUNK_SIZE",
                               "10",
                               "MODEL_FILES",
                               "/models",
                               "model_store_timeout",
                               "0",
                               "arena",
                               "64",
                               "ONNX",
                               "/ignored"});
  CHECK_EQUAL(Text(options), "ok");
  CHECK_EQUAL(options->threads_per_queue, 4);
  CHECK_EQUAL(options->engine(Engine::kTorch).backend, "/b.so");
  CHECK_EQUAL(options->engine(Engine::kTorch).libraries, "/lib");
  CHECK_EQUAL(options->model_chunk_bytes, 10);
  CHECK_EQUAL(options->model_files, "/models");
  CHECK_EQUAL(options->store_timeout_ms, 0);
  CHECK_EQUAL(options->arena_mb, 64);
  CHECK_EQUAL(ParseOptions({"ARENA", "auto"})->arena_mb, kArenaAuto);
  CHECK(options->preload == std::vector<Engine>{Engine::kTorch});
  CHECK_EQUAL(options->without_effect.size(), 1u);
  CHECK_EQUAL(options->without_effect[0], "ONNX");
}

void WhatIsWrongIsNamed() {
  CHECK_EQUAL(Text(ParseOptions({"COLOUR", "blue"})), "unknown module argument 'COLOUR'");
  CHECK_EQUAL(Text(ParseOptions({"TORCH"})),
              "module arguments are KEY VALUE pairs, but 'TORCH' has no value");
  CHECK_EQUAL(Text(ParseOptions({"THREADS_PER_QUEUE", "0"})),
              "THREADS_PER_QUEUE: '0' is not a number between 1 and 1024");
  CHECK_EQUAL(Text(ParseOptions({"MODEL_EXECUTION_TIMEOUT", "10"})),
              "MODEL_EXECUTION_TIMEOUT: '10' is not a number between 1000 and 1000000000000");
  for (const char* key : {"MODEL_EXECUTION_TIMEOUT", "MODEL_STORE_TIMEOUT"})
    CHECK(!ParseOptions({key, "9223372036854775807"}).ok());
  CHECK_EQUAL(Text(ParseOptions({"ARENA", "-1"})), "ARENA: '-1' is not a number between 0 and 8796093022207");
  CHECK_EQUAL(Text(ParseOptions({"PRELOAD", "JAX"})), "PRELOAD: unknown backend 'JAX'");
  for (const char* engine : {"TORCH", "TVM", ""})
    CHECK_EQUAL(Text(ParseOptions({"ONNX_BACKEND", engine})),
                std::string("ONNX_BACKEND: '") + engine + "' is neither OPENVINO nor ONNXRUNTIME");
  CHECK_EQUAL(Text(ParseOptions({"FREEZE", "1"})), "FREEZE: '1' is neither yes nor no");
  CHECK_EQUAL(Text(ParseOptions({"AOTINDUCTOR", "maybe"})), "AOTINDUCTOR: 'maybe' is neither yes nor no");
  CHECK_EQUAL(Text(ParseOptions({"GPU_ON_CPU", "2"})), "GPU_ON_CPU: '2' is neither yes nor no");
}

void EveryEngineHasItsArguments() {
  auto options = ParseOptions({"OPENVINO",
                               "/o.so",
                               "openvino_libraries",
                               "/o",
                               "OPENVINO_VERSION",
                               "2026.4.1",
                               "ONNXRUNTIME",
                               "/r.so",
                               "ONNXRUNTIME_LIBRARIES",
                               "/r",
                               "ONNX_BACKEND",
                               "onnxruntime",
                               "PRELOAD",
                               "OPENVINO",
                               "PRELOAD",
                               "ONNXRUNTIME",
                               "FREEZE",
                               "Yes",
                               "AOTINDUCTOR",
                               "no"});
  CHECK_EQUAL(Text(options), "ok");
  CHECK_EQUAL(options->engine(Engine::kOpenvino).backend, "/o.so");
  CHECK_EQUAL(options->engine(Engine::kOpenvino).libraries, "/o");
  CHECK_EQUAL(options->engine(Engine::kOpenvino).version, "2026.4.1");
  CHECK_EQUAL(options->engine(Engine::kOnnxruntime).backend, "/r.so");
  CHECK_EQUAL(options->engine(Engine::kOnnxruntime).libraries, "/r");
  CHECK(options->onnx_engine == Engine::kOnnxruntime);
  CHECK_EQUAL(options->preload.size(), 2u);
  CHECK(options->freeze && !options->native_models);
}

void NothingGivenIsRedisAiDefaults() {
  auto options = ParseOptions({});
  CHECK_EQUAL(options->threads_per_queue, 1);
  CHECK_EQUAL(options->model_chunk_bytes, 535822336);
  CHECK(options->preload.empty());
  CHECK(!options->freeze && !options->native_models && !options->onnx_engine);
}

}  // namespace

int main() {
  KeysAreReadInAnyCase();
  WhatIsWrongIsNamed();
  EveryEngineHasItsArguments();
  NothingGivenIsRedisAiDefaults();
  return penstock::test::Report();
}

#include "check.h"
#include "options.h"

using namespace penstock;
using penstock::test::Text;

namespace {

void KeysAreReadInAnyCase() {
  auto options =
      ParseOptions({"threads_per_queue", "4", "Torch", "/b.so", "TORCH_LIBRARIES", "/lib", "TORCH_VERSION",
                    "2.13.0", "PRELOAD", "torch", "MODEL_CHUNK_SIZE", "10", "ONNX", "/ignored"});
  CHECK_EQUAL(Text(options), "ok");
  CHECK_EQUAL(options->threads_per_queue, 4);
  CHECK_EQUAL(options->torch_backend, "/b.so");
  CHECK_EQUAL(options->torch_libraries, "/lib");
  CHECK_EQUAL(options->model_chunk_bytes, 10);
  CHECK(options->preload_torch);
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
              "MODEL_EXECUTION_TIMEOUT: '10' is not a number of at least 1000");
  CHECK_EQUAL(Text(ParseOptions({"PRELOAD", "JAX"})), "PRELOAD: unknown backend 'JAX'");
}

void NothingGivenIsRedisAiDefaults() {
  auto options = ParseOptions({});
  CHECK_EQUAL(options->threads_per_queue, 1);
  CHECK_EQUAL(options->model_chunk_bytes, 535822336);
  CHECK(!options->preload_torch);
}

}  // namespace

int main() {
  KeysAreReadInAnyCase();
  WhatIsWrongIsNamed();
  NothingGivenIsRedisAiDefaults();
  return penstock::test::Report();
}

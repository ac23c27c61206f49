// Whether a real backend declines a run for which the main thread would have to wait, without a server:
//   probe_busy <ONNX> <the file loop.onnx> [module argument value]...
#include <array>
#include <atomic>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "loading.h"
#include "options.h"

using namespace penstock;

namespace {

struct Outputs : backend::Sink {
  void Tensor(const backend::TensorView&) override { ++arrays; }
  void Keep(const backend::TensorView&, backend::Resident* array) override { delete array; }
  void Name(backend::Bytes) override {}
  void Error(backend::Bytes error) override { std::cerr.write(error.data, error.size) << "\n"; }
  int arrays = 0;
};

// Adds one to a number, `rounds` times.
struct Loop {
  explicit Loop(int64_t rounds) : count(rounds) {
    call.inputs = inputs.data();
    call.input_count = inputs.size();
    call.output_count = 1;
  }
  alignas(64) int64_t count;
  alignas(64) float step = 1;
  alignas(64) float start = 0;
  alignas(64) bool again = true;
  const int64_t one = 1;
  std::array<backend::TensorView, 4> inputs{{{DataType::kFloat, &one, 1, &step, sizeof step},
                                             {DataType::kInt64, &one, 0, &count, sizeof count},
                                             {DataType::kBool, &one, 0, &again, sizeof again},
                                             {DataType::kFloat, &one, 1, &start, sizeof start}}};
  backend::Call call{};
};

ProgramPtr Load(const char* path, const Options& options) {
  static Backends backends(options, ".");
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto definition = std::make_shared<ModelDefinition>();
  definition->backend = BackendKind::kOnnx;
  definition->device = "CPU";
  definition->file->Add(CopyBytes(bytes));
  auto program = NewModel(&backends, definition, nullptr)->Settle();
  return program.ok() ? *program : nullptr;
}

bool RunsNow(backend::Program& program) {
  Loop shortest(1);
  Outputs outputs;
  return program.TryRun(shortest.call, outputs) && outputs.arrays == 1;
}

bool DeclinesBeside(backend::Program& program) {
  constexpr int64_t kSecondsOfRounds = 500'000;
  std::atomic<bool> ended = false;
  std::thread worker([&] {
    Loop long_one(kSecondsOfRounds);
    Outputs outputs;
    program.Run(long_one.call, outputs);
    ended = true;
  });
  bool declined = false;
  while (!declined && !ended) declined = !RunsNow(program);
  worker.join();
  return declined;
}

}  // namespace

int main(int argc, char** argv) {
  auto options = ParseOptions(std::vector<std::string_view>(argv + 3, argv + argc));
  if (!options.ok()) return 1;
  ProgramPtr program = Load(argv[2], *options);
  if (program == nullptr) return 1;
  std::cout << "before " << RunsNow(*program) << "\nbeside " << !DeclinesBeside(*program) << "\nafter "
            << RunsNow(*program) << "\n";
  return 0;
}

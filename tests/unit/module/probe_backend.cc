// Loads one model file with a real backend, without a server, and prints what the backend says of it:
//   probe_backend <TORCH|ONNX|TF|TFLITE> <file> [module argument value]...
#include <fstream>
#include <iostream>
#include <iterator>

#include "loading.h"
#include "options.h"

using namespace penstock;

namespace {

struct Names : backend::Sink {
  void Tensor(const backend::TensorView&) override {}
  void Keep(const backend::TensorView&, backend::Resident* array) override { delete array; }
  void Name(backend::Bytes name) override { text += " " + std::string(name.data, name.size); }
  void Error(backend::Bytes error) override { text.assign(error.data, error.size); }
  std::string text;
};

std::string Inputs(const backend::Program& program) {
  Names names;
  program.Inputs(names);
  return names.text;
}

std::string Outputs(const backend::Program& program) {
  Names names;
  program.Outputs(names);
  return names.text;
}

int Fail(const std::string& text) {
  std::cerr << text << "\n";
  return 1;
}

std::shared_ptr<ModelDefinition> Read(BackendKind kind, const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto definition = std::make_shared<ModelDefinition>();
  definition->backend = kind;
  definition->device = "CPU";
  definition->file->Add(CopyBytes(bytes));
  return definition;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return Fail("usage: probe_backend <backend> <file> [argument value]...");
  auto kind = ParseBackend(argv[1]);
  if (!kind) return Fail("unknown backend");
  auto options = ParseOptions(std::vector<std::string_view>(argv + 3, argv + argc));
  if (!options.ok()) return Fail(options.status().text());
  Backends backends(*options, ".");
  auto program = NewModel(&backends, Read(*kind, argv[2]), nullptr)->Settle();
  if (!program.ok()) return Fail(program.status().text());
  std::cout << "straight_line " << (*program)->StraightLine() << "\nmemory_bytes "
            << (*program)->MemoryBytes() << "\ninputs" << Inputs(**program) << "\noutputs"
            << Outputs(**program) << "\n";
  return 0;
}

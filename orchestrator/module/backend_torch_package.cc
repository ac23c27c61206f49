#include "backend_torch_package.h"

#include <caffe2/serialize/inline_container.h>
#include <dlfcn.h>
#include <link.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "backend_torch_bounds.h"
#include "backend_torch_source.h"
#include "backend_torch_values.h"
#include "instruction_set.h"
#include "temporary_file.h"

namespace penstock {
namespace {

using backend::Call;
using backend::Sink;
using caffe2::serialize::PyTorchStreamReader;
using torch::inductor::AOTIModelPackageLoader;

constexpr char kFolder[] = "data/aotinductor/";
constexpr char kMetadata[] = "_metadata.json";

// The flags of the first processor, between blanks.
std::string ProcessorFlags() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("flags") || line.starts_with("Features"))
      return line.substr(line.find(':') + 1) + " ";
  }
  return " ";
}

// What of an archive matters here.
struct Package {
  std::string model;  // the folder in it; empty: no AOTInductor package
  std::string library;
  uint64_t bytes = 0;  // of what is compiled and what it computes with
  bool exported = false;
  std::map<std::string, std::string> metadata;
};

// The value of `"name": "value"` in a small flat JSON object.
std::string JsonText(const std::string& json, const std::string& name) {
  size_t at = json.find("\"" + name + "\"");
  if (at == std::string::npos) return "";
  size_t start = json.find('"', json.find(':', at));
  size_t end = start == std::string::npos ? start : json.find('"', start + 1);
  return end == std::string::npos ? "" : json.substr(start + 1, end - start - 1);
}

void ReadMetadata(PyTorchStreamReader& archive, const std::string& record, Package* package) {
  auto [data, size] = archive.getRecord(record);
  std::string json(static_cast<const char*>(data.get()), size);
  for (const char* name : {"AOTI_CPU_ISA", "AOTI_PLATFORM", "AOTI_MACHINE", "AOTI_DEVICE_KEY"})
    package->metadata[name] = JsonText(json, name);
}

Package ReadPackage(PyTorchStreamReader& archive) {
  Package package;
  for (const std::string& record : archive.getAllRecords()) {
    package.exported = package.exported || record.starts_with("models/") ||
                       record.starts_with("serialized_exported_program");
    if (!record.starts_with(kFolder)) continue;
    std::string path = record.substr(sizeof kFolder - 1);
    size_t slash = path.find('/');
    if (slash == std::string::npos) continue;
    TORCH_CHECK(package.model.empty() || package.model == path.substr(0, slash),
                "the package has several models: store each in a package of its own");
    package.model = path.substr(0, slash);
    if (record.ends_with(".so")) package.library = path.substr(slash + 1);
    if (!record.ends_with(".cpp") && !record.ends_with(".json"))
      package.bytes += archive.getRecordSize(record);
    if (record.ends_with(kMetadata)) ReadMetadata(archive, record, &package);
  }
  return package;
}

void CheckHost(Package& package) {
  std::string missing = MissingInstructionSet(package.metadata["AOTI_CPU_ISA"], ProcessorFlags());
  TORCH_CHECK(missing.empty(), "the package was compiled for the instruction set ",
              package.metadata["AOTI_CPU_ISA"], ", and this host has no ", missing,
              ": compile it on such a host, or with ATEN_CPU_CAPABILITY=avx2 in the environment");
  std::string machine = package.metadata["AOTI_MACHINE"];
#if defined(__x86_64__)
  constexpr char kHere[] = "x86_64";
#elif defined(__aarch64__)
  constexpr char kHere[] = "aarch64";
#else
  constexpr char kHere[] = "";
#endif
  TORCH_CHECK(machine.empty() || kHere[0] == 0 || machine == kHere, "the package was compiled for ", machine,
              ", and this host is ", kHere);
}

void CheckDevice(Package& package, const at::Device& device) {
  const std::string& compiled = package.metadata["AOTI_DEVICE_KEY"];
  std::string wanted = at::DeviceTypeName(device.type(), true);
  TORCH_CHECK(compiled.empty() || compiled == wanted, "the package was compiled for ", compiled,
              ", and is to run on ", wanted);
}

// The files of this name that are open as libraries.
std::set<std::string> OpenLibraries(const std::string& name) {
  struct Search {
    const std::string end;
    std::set<std::string> found;
  } search{"/" + name, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto* search = static_cast<Search*>(data);
        if (std::string(info->dlpi_name).ends_with(search->end)) search->found.insert(info->dlpi_name);
        return 0;
      },
      &search);
  return search.found;
}

// The folder in which torch unpacked the package: a server that leaves would leave it behind. On a GPU its
// kernels are read from there later.
void RemoveUnpacked(const std::string& library, const at::Device& device) {
  std::error_code left;
  std::string temporary = std::filesystem::temp_directory_path(left).string();
  bool unpacked = library.starts_with("/tmp/") || (!left && library.starts_with(temporary + "/"));
  if (!device.is_cpu() || !unpacked) return;
  std::filesystem::path below(library);
  for (const auto& entry : std::filesystem::directory_iterator(below.parent_path(), left))
    std::filesystem::remove(entry.path(), left);
  while (below.parent_path() != "/tmp" && below.parent_path() != temporary) {
    below = below.parent_path();
    if (!std::filesystem::remove(below, left)) break;  // not empty: not ours alone
  }
}

// One at a time: the library that is open now and was not before is this package's.
std::unique_ptr<AOTIModelPackageLoader> Open(const Package& package, const std::string& path,
                                             const at::Device& device, const backend::Settings& settings) {
  static std::mutex opening;
  std::lock_guard lock(opening);
  std::set<std::string> before = OpenLibraries(package.library);
  auto loader = std::make_unique<AOTIModelPackageLoader>(path, package.model, false,
                                                         static_cast<size_t>(std::max(settings.workers, 1)),
                                                         device.is_cpu() ? -1 : device.index());
  for (const std::string& library : OpenLibraries(package.library))
    if (before.count(library) == 0) RemoveUnpacked(library, device);
  return loader;
}

size_t CountLeaves(const std::string& spec) {
  const std::string leaf = "\"type\": null";
  size_t count = 0;
  for (size_t at = spec.find(leaf); at != std::string::npos; at = spec.find(leaf, at + 1)) ++count;
  return count;
}

class PackagedModel : public backend::Program {
 public:
  PackagedModel(std::unique_ptr<AOTIModelPackageLoader> loader, at::Device device, uint64_t bytes)
      : loader_(std::move(loader)), device_(device), bytes_(bytes) {
    auto specs = loader_->get_call_spec();
    if (!specs.empty()) input_count_ = CountLeaves(specs[0]);
    for (size_t i = 0; i < input_count_; ++i) names_.push_back("input_" + std::to_string(i));
  }
  void Run(const Call& call, Sink& out) noexcept override {
    Guard(out, [&] {
      PrepareThread();
      torch::NoGradGuard no_gradients;
      RunningCall running(call);
      TORCH_CHECK(call.input_count == input_count_, kWrongInputs);
      std::vector<at::Tensor> inputs;
      // Compiled code may write to what it is given.
      for (size_t i = 0; i < call.input_count; ++i) inputs.push_back(Wrap(call.inputs[i], device_, true));
      EmitAll(c10::IValue(loader_->run(inputs)), call, out);
    });
  }
  void Inputs(Sink& out) const noexcept override {
    for (const std::string& name : names_) out.Name(ToBytes(name));
  }
  void Outputs(Sink&) const noexcept override {}
  bool StraightLine() const noexcept override { return false; }  // nobody can see
  uint64_t MemoryBytes() const noexcept override { return bytes_; }

 private:
  std::unique_ptr<AOTIModelPackageLoader> loader_;
  at::Device device_;
  uint64_t bytes_;
  size_t input_count_ = 0;
  std::vector<std::string> names_;
};

}  // namespace

std::unique_ptr<backend::Program> LoadTorchPackage(
    const backend::ModelSource& source,
    const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& reader,
    const backend::Settings& settings) {
  auto archive = OpenArchive(reader);
  if (archive == nullptr) return nullptr;  // whoever loads TorchScript says what is wrong with it
  Package package = ReadPackage(*archive);
  TORCH_CHECK(!package.model.empty() || !package.exported,
              "this archive of torch.export has not been compiled: store what "
              "torch._inductor.aoti_compile_and_package(program, package_path=...) writes");
  if (package.model.empty()) return nullptr;
  TORCH_CHECK(
      settings.native_models,
      "this is an AOTInductor package, compiled code that would run with the server's rights: start the "
      "database with the module's argument AOTINDUCTOR yes, or store TorchScript");
  at::Device device = ToDevice(source.device);
  CheckHost(package);
  CheckDevice(package, device);
  archive.reset();
  TemporaryFile file(source, ".pt2");
  auto loader = Open(package, file.path(), device, settings);
  return std::make_unique<PackagedModel>(std::move(loader), device, package.bytes);
}

}  // namespace penstock

#include "backends.h"

#include <dlfcn.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace penstock {
namespace {

using backend::Bytes;

Bytes ToBytes(std::string_view text) { return {text.data(), text.size()}; }

// Keeps the error of a load.
struct ErrorSink : backend::Sink {
  void Tensor(const backend::TensorView&) override {}
  void Name(Bytes) override {}
  void Error(Bytes text) override { error.assign(text.data, text.size); }
  std::string error;
};

Result<void*> OpenLibrary(const std::string& path, int visibility) {
  void* library = dlopen(path.c_str(), RTLD_NOW | visibility);
  if (library == nullptr) return Status::Error(std::string("cannot open ") + path + ": " + dlerror());
  return library;
}

// 2.13.0+cpu and 2.13.0 are the same torch to a compiled file.
std::string PublicVersion(const std::string& version) { return version.substr(0, version.find('+')); }

// Only what was opened for the whole process can serve the backend. A build for GPUs brings further
// libraries.
Status OpenTorchLibraries(const std::string& folder) {
  if (folder.empty()) return Status::Ok();
  auto cpu = OpenLibrary(folder + "/libtorch_cpu.so", RTLD_GLOBAL);
  if (!cpu.ok()) return cpu.status();
  std::string gpu = folder + "/libtorch_cuda.so";
  if (access(gpu.c_str(), F_OK) != 0) return Status::Ok();
  return OpenLibrary(gpu, RTLD_GLOBAL).status();
}

// Reads the version from the file's bytes: opening a file that does not fit may crash.
Status CheckVersion(const std::string& file, const std::string& installed) {
  std::error_code unreadable;
  bool regular = std::filesystem::is_regular_file(file, unreadable);
  std::ifstream stream(file, std::ios::binary);
  if (!regular || !stream)
    return Status::Error("there is no backend file " + file + "; `penstock build` makes it");
  std::string bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  const std::string marker = PENSTOCK_BUILT_FOR;
  size_t start = bytes.find(marker);
  if (start == std::string::npos) return Status::Error(file + " is not a Penstock backend");
  std::string built_for(bytes.c_str() + start + marker.size());
  if (installed.empty() || PublicVersion(built_for) == PublicVersion(installed)) return Status::Ok();
  return Status::Error("backend " + file + " was built for torch " + built_for +
                       ", but the installed torch is " + installed +
                       "; `penstock build` makes one that fits");
}

Result<ProgramPtr> Finish(backend::Program* program, const ErrorSink& sink) {
  if (program == nullptr) return Status::Error(sink.error);
  return ProgramPtr(program);
}

Result<ProgramPtr> LoadModel(Backends* backends, const ModelDefinition& model) {
  if (model.backend != BackendKind::kTorch) {
    return Status::Error(std::string("backend ") + BackendName(model.backend) +
                         " is not available: only TORCH is");
  }
  auto torch = backends->Torch();
  if (!torch.ok()) return torch.status();
  std::vector<Bytes> pieces;
  for (const BufferPtr& piece : model.pieces) pieces.push_back(ToBytes(piece->view()));
  ErrorSink sink;
  return Finish((*torch)->LoadModel({pieces.data(), pieces.size(), ToBytes(model.device)}, sink), sink);
}

Result<ProgramPtr> CompileScript(Backends* backends, const ScriptDefinition& script) {
  auto torch = backends->Torch();
  if (!torch.ok()) return torch.status();
  std::vector<Bytes> names;
  for (const std::string& name : script.entry_points) names.push_back(ToBytes(name));
  ErrorSink sink;
  return Finish((*torch)->CompileScript(
                    {ToBytes(script.source), ToBytes(script.device), names.data(), names.size()}, sink),
                sink);
}

}  // namespace

Backends::Backends(const Options& options, std::string folder)
    : options_(options), folder_(options.backends_path.empty() ? std::move(folder) : options.backends_path) {}

Result<backend::Backend*> Backends::Open(const Options& options, const std::string& file) {
  Status status = CheckVersion(file, options.torch_version);
  if (status.ok()) status = OpenTorchLibraries(options.torch_libraries);
  if (!status.ok()) return status;
  auto library = OpenLibrary(file, RTLD_LOCAL);
  if (!library.ok()) return library.status();
  auto entry = reinterpret_cast<const backend::Entry* (*)()>(dlsym(*library, backend::kEntryName));
  if (entry == nullptr || entry()->interface_version != backend::kInterfaceVersion) {
    return Status::Error(file +
                         " was built for another version of Penstock; `penstock build` makes one that fits");
  }
  ErrorSink sink;
  auto* opened = entry()->open(
      {static_cast<int>(options.intra_op_threads), static_cast<int>(options.inter_op_threads)}, sink);
  if (opened == nullptr) return Status::Error(sink.error);
  version_ = entry()->library_version;
  return opened;
}

// The caller holds opening_. An empty path: the configured file.
Result<backend::Backend*> Backends::OpenOnce(const std::string& path) {
  if (torch_ != nullptr) return torch_;
  std::unique_lock lock(mutex_);
  std::string folder = folder_;
  lock.unlock();
  std::string file = path.empty() ? options_.torch_backend : path;
  if (file.empty()) file = "backend_torch.so";
  auto opened = Open(options_, file.front() == '/' ? file : folder + "/" + file);
  if (opened.ok()) torch_ = *opened;
  return opened;
}

Result<backend::Backend*> Backends::Torch() {
  std::lock_guard lock(opening_);
  return OpenOnce("");
}

Status Backends::OpenTorchAt(const std::string& path) {
  std::lock_guard lock(opening_);
  if (torch_ != nullptr) return Status::Error("backend TORCH is already loaded");
  return OpenOnce(path).status();
}

void Backends::SetFolder(const std::string& folder) {
  std::lock_guard lock(mutex_);
  folder_ = folder;
}

std::string Backends::folder() const {
  std::lock_guard lock(mutex_);
  return folder_;
}

ModelPtr NewModel(Backends* backends, std::shared_ptr<const ModelDefinition> definition, ModelPtr before) {
  auto load = [backends, definition, before = std::move(before)]() -> Result<ProgramPtr> {
    if (before != nullptr && before->definition().SameAs(*definition)) {
      auto program = before->Settle();
      if (program.ok()) return program;
    }
    return LoadModel(backends, *definition);
  };
  return std::make_shared<Model>(std::move(definition), std::move(load));
}

ScriptPtr NewScript(Backends* backends, std::shared_ptr<const ScriptDefinition> definition) {
  auto load = [backends, definition] { return CompileScript(backends, *definition); };
  return std::make_shared<Script>(std::move(definition), std::move(load));
}

}  // namespace penstock

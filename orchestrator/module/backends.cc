#include "backends.h"

#include <dlfcn.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "error_sink.h"

namespace penstock {
namespace {

// A server may change its directory later, and dlopen() looks elsewhere for a name without a slash.
std::string FromRoot(const std::string& folder) {
  std::error_code gone;
  auto absolute = std::filesystem::absolute(folder, gone);
  return gone ? folder : absolute.string();
}

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

}  // namespace

Backends::Backends(const Options& options, const std::string& folder)
    : options_(options),
      folder_(FromRoot(options.backends_path.empty() ? folder : options.backends_path)),
      torch_file_(Absolute(options.torch_backend.empty() ? "backend_torch.so" : options.torch_backend)) {}

// From the folder of backends, without `.` and `..`. Asks no file system: the main thread calls it too.
std::string Backends::Absolute(const std::string& path) const {
  return (std::filesystem::path(folder_) / path).lexically_normal().string();
}

Result<backend::Backend*> Backends::Open() {
  Status status = CheckVersion(torch_file_, options_.torch_version);
  if (status.ok()) status = OpenTorchLibraries(options_.torch_libraries);
  if (!status.ok()) return status;
  auto library = OpenLibrary(torch_file_, RTLD_LOCAL);
  if (!library.ok()) return library.status();
  auto entry = reinterpret_cast<const backend::Entry* (*)()>(dlsym(*library, backend::kEntryName));
  if (entry == nullptr || entry()->interface_version != backend::kInterfaceVersion) {
    return Status::Error(torch_file_ +
                         " was built for another version of Penstock; `penstock build` makes one that fits");
  }
  ErrorSink sink;
  auto* opened = entry()->open(
      {static_cast<int>(options_.intra_op_threads), static_cast<int>(options_.inter_op_threads)}, sink);
  if (opened == nullptr) return Status::Error(sink.error);
  version_ = entry()->library_version;
  return opened;
}

// The caller holds opening_.
Result<backend::Backend*> Backends::OpenOnce() {
  if (torch_ != nullptr) return torch_;
  auto opened = Open();
  if (opened.ok()) torch_ = *opened;
  return opened;
}

Result<backend::Backend*> Backends::Torch() {
  std::lock_guard lock(opening_);
  return OpenOnce();
}

Status Backends::OpenTorchAt(const std::string& path) {
  std::string file = Absolute(path);
  if (file != torch_file_) {
    return Status::Error(
        file + " is not the backend that this server was given when it was loaded, which is " + torch_file_);
  }
  std::lock_guard lock(opening_);
  if (torch_ != nullptr) return Status::Error("backend TORCH is already loaded");
  return OpenOnce().status();
}

Status Backends::CheckFolder(const std::string& folder) const {
  // With an empty name behind it, a path ends in one slash.
  if (Absolute(folder + "/") == Absolute("")) return Status::Ok();
  return Status::Error("BACKENDSPATH: " + folder +
                       " is not the folder that this server was given when it was loaded");
}

}  // namespace penstock

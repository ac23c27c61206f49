#include "backends.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "error_sink.h"
#include "memory.h"
#include "model.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;

struct Library {
  const char* name;  // the file's, without what may follow: libopenvino.so.2641
  int visibility;
  bool needed;
};

struct EngineFacts {
  const char* package;             // what pip installs
  const char* libraries_argument;  // says where its libraries are
  const char* file;                // our backend, when no other was given
  Library libraries[3];
};

// Models that are compiled code find torch's symbols only where these are global. A torch for GPUs brings
// further libraries.
constexpr EngineFacts kFacts[] = {
    {"torch",
     "TORCH_LIBRARIES",
     "backend_torch.so",
     {{"libtorch_cpu.so", RTLD_GLOBAL, true},
      {"libtorch_cuda.so", RTLD_GLOBAL, false},
      {"libtorch_xpu.so", RTLD_GLOBAL, false}}},
    {"openvino", "OPENVINO_LIBRARIES", "backend_openvino.so", {{"libopenvino.so", RTLD_LOCAL, true}}},
    {"onnxruntime",
     "ONNXRUNTIME_LIBRARIES",
     "backend_onnxruntime.so",
     {{"libonnxruntime.so", RTLD_LOCAL, true}}},
};

const EngineFacts& Facts(Engine engine) { return kFacts[static_cast<size_t>(engine)]; }

// A server may change its directory later, and dlopen() looks elsewhere for a name without a slash.
std::string FromRoot(const std::string& folder) {
  std::error_code gone;
  auto absolute = fs::absolute(folder, gone);
  return gone ? folder : absolute.string();
}

Result<void*> OpenLibrary(const std::string& path, int visibility) {
  void* library = dlopen(path.c_str(), RTLD_NOW | visibility);
  if (library == nullptr) return Status::Error(std::string("cannot open ") + path + ": " + dlerror());
  return library;
}

// `name`, or that name with a version behind it, as wheels without links have it.
std::string FindLibrary(const fs::path& folder, const std::string& name) {
  std::error_code unreadable;
  fs::path exact = folder / name;
  if (fs::exists(exact, unreadable)) return exact.string();
  for (fs::directory_iterator entry(folder, unreadable), end; !unreadable && entry != end;
       entry.increment(unreadable)) {
    if (entry->path().filename().string().rfind(name + ".", 0) == 0) return entry->path().string();
  }
  return exact.string();
}

Status OpenLibraries(const EngineFacts& facts, const std::string& folder) {
  if (folder.empty()) return Status::Ok();
  for (const Library& library : facts.libraries) {
    if (library.name == nullptr) break;
    std::string path = FindLibrary(folder, library.name);
    if (!library.needed && access(path.c_str(), F_OK) != 0) continue;
    auto opened = OpenLibrary(path, library.visibility);
    if (!opened.ok()) return opened.status();
  }
  return Status::Ok();
}

// 2.13.0+cpu and 2.13.0 are the same torch to a compiled file.
std::string PublicVersion(const std::string& version) { return version.substr(0, version.find('+')); }

Status MissingFile(Engine engine, const std::string& file) {
  std::string package = Facts(engine).package;
  return Status::Error("there is no backend file " + file + "; with " + package + " installed (pip install " +
                       package + "), `penstock build` makes it");
}

// Reads the version from the file's bytes: opening a file that does not fit may crash. A file that asks its
// library at run time is built for `any`.
Status CheckVersion(Engine engine, const std::string& file, const std::string& installed) {
  std::error_code unreadable;
  bool regular = fs::is_regular_file(file, unreadable);
  std::ifstream stream(file, std::ios::binary);
  if (!regular || !stream) return MissingFile(engine, file);
  std::string bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  const std::string marker = PENSTOCK_BUILT_FOR;
  size_t start = bytes.find(marker);
  if (start == std::string::npos) return Status::Error(file + " is not a Penstock backend");
  std::string built_for(bytes.c_str() + start + marker.size());
  bool fits = installed.empty() || built_for == "any" || PublicVersion(built_for) == PublicVersion(installed);
  if (fits) return Status::Ok();
  std::string package = Facts(engine).package;
  return Status::Error("backend " + file + " was built for " + package + " " + built_for +
                       ", but the installed " + package + " is " + installed +
                       "; `penstock build` makes one that fits");
}

}  // namespace

Backends::Backends(const Options& options, const std::string& folder)
    : options_(options), folder_(FromRoot(options.backends_path.empty() ? folder : options.backends_path)) {
  for (Engine engine : kEngines) {
    const std::string& given = options_.engine(engine).backend;
    opened_[static_cast<size_t>(engine)].file = Absolute(given.empty() ? Facts(engine).file : given);
  }
  bool other = !HasFile(Engine::kOpenvino) && HasFile(Engine::kOnnxruntime);
  onnx_engine_ = options_.onnx_engine.value_or(other ? Engine::kOnnxruntime : Engine::kOpenvino);
  // OpenVINO's TBB otherwise opens its own helper in a way that ends in free() of a foreign allocator, on
  // servers that bring their own.
  setenv("TBB_ENABLE_SANITIZERS", "1", 0);
  // Compiled models otherwise read behind the end of an input that is too small.
  setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 1);
}

Engine Backends::EngineFor(BackendKind kind) const {
  if (kind == BackendKind::kTorch) return Engine::kTorch;
  return kind == BackendKind::kOnnx ? onnx_engine_ : Engine::kOpenvino;
}

bool Backends::HasFile(Engine engine) const {
  return access(opened_[static_cast<size_t>(engine)].file.c_str(), F_OK) == 0;
}

// From the folder of backends, without `.` and `..`. Asks no file system: the main thread calls it too.
std::string Backends::Absolute(const std::string& path) const {
  return (fs::path(folder_) / path).lexically_normal().string();
}

Result<backend::Backend*> Backends::OpenFile(Engine engine) {
  Opened& opened = opened_[static_cast<size_t>(engine)];
  const EngineOptions& options = options_.engine(engine);
  Status status = CheckVersion(engine, opened.file, options.version);
  if (status.ok()) status = OpenLibraries(Facts(engine), options.libraries);
  if (!status.ok()) return status;
  auto library = OpenLibrary(opened.file, RTLD_LOCAL);
  if (!library.ok() && options.libraries.empty()) {
    return Status::Error(library.status().text() + "; the load argument " + Facts(engine).libraries_argument +
                         " names the folder of " + Facts(engine).package + "'s libraries");
  }
  if (!library.ok()) return library.status();
  auto entry = reinterpret_cast<const backend::Entry* (*)()>(dlsym(*library, backend::kEntryName));
  if (entry == nullptr || entry()->interface_version != backend::kInterfaceVersion) {
    return Status::Error(opened.file +
                         " was built for another version of Penstock; `penstock build` makes one that fits");
  }
  backend::Settings settings{};
  settings.intra_op_threads = static_cast<int>(options_.intra_op_threads);
  settings.inter_op_threads = static_cast<int>(options_.inter_op_threads);
  settings.workers = static_cast<int>(options_.threads_per_queue);
  settings.memory_limit = static_cast<uint64_t>(options_.backend_memory_limit_mb) << 20;
  settings.freeze = options_.freeze;
  settings.native_models = options_.native_models;
  settings.memory = {AllocateAligned, ReleaseAligned, AlignedSize};
  ErrorSink sink;
  backend::Backend* made = entry()->open(settings, sink);
  if (made == nullptr) return Status::Error(sink.error);
  opened.version = entry()->library_version;
  return made;
}

// The caller holds opening_.
Result<backend::Backend*> Backends::OpenOnce(Engine engine) {
  Opened& opened = opened_[static_cast<size_t>(engine)];
  if (opened.backend != nullptr) return opened.backend;
  auto made = OpenFile(engine);
  if (made.ok()) opened.backend = *made;
  return made;
}

Result<backend::Backend*> Backends::Open(Engine engine) {
  std::lock_guard lock(opening_);
  return OpenOnce(engine);
}

std::string Backends::PlaceFor(const std::string& device) const {
  return options_.gpu_on_cpu && device.rfind("GPU", 0) == 0 ? "CPU" : device;
}

Result<backend::Backend*> Backends::For(BackendKind kind) {
  std::lock_guard lock(opening_);
  auto made = OpenOnce(EngineFor(kind));
  if (made.ok()) asked_for_[static_cast<size_t>(kind)] = true;
  return made;
}

Status Backends::OpenAt(BackendKind kind, const std::string& path) {
  Engine engine = EngineFor(kind);
  std::string given = opened_[static_cast<size_t>(engine)].file;
  std::string file = Absolute(path);
  if (file != given) {
    return Status::Error(
        file + " is not the backend that this server was given when it was loaded, which is " + given);
  }
  std::lock_guard lock(opening_);
  bool& asked_for = asked_for_[static_cast<size_t>(kind)];
  if (asked_for) return Status::Error(std::string("backend ") + BackendName(kind) + " is already loaded");
  Status status = OpenOnce(engine).status();
  asked_for = status.ok();
  return status;
}

Status Backends::CheckFolder(const std::string& folder) const {
  // With an empty name behind it, a path ends in one slash.
  if (Absolute(folder + "/") == Absolute("")) return Status::Ok();
  return Status::Error("BACKENDSPATH: " + folder +
                       " is not the folder that this server was given when it was loaded");
}

}  // namespace penstock

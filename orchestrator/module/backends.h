// Opens backend libraries: which file runs a model of which kind, and how it gets into the process.
//
// DESIGN
//   TORCH is run by torch, TF and TFLITE by OpenVINO, ONNX by OpenVINO or onnxruntime as the load arguments
//   say, else by whichever has a backend file. Each is opened once, by the first thread that loads something
//   with it (never the main one), or in the background at start when PRELOAD asks for it. The libraries it
//   stands on are opened first, by absolute path, so that no search path matters. Before a backend file is
//   opened its bytes are asked which version it was built for: one that does not fit would crash. Opened
//   libraries are never closed. Which file that is is settled by the module's load arguments: what is opened
//   runs with the server's rights, so clients may ask for that very file and for no other. Locks: opening_ is
//   held for as long as opening takes, so the main thread never asks for it.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <string>

#include "backend.h"
#include "options.h"
#include "status.h"

namespace penstock {

class Backends {
 public:
  /// `folder` is where the module itself lies. Main thread, before there are others: it sets up the
  /// environment that libraries read when they are opened.
  Backends(const Options& options, const std::string& folder);
  Engine EngineFor(BackendKind kind) const;
  /// Where what is stored for `device` is loaded: there, or on the CPU where GPU_ON_CPU says so.
  std::string PlaceFor(const std::string& device) const;
  /// The backend that runs models of `kind`, opened now if it was not. Blocks for as long as that takes.
  Result<backend::Backend*> For(BackendKind kind);
  Result<backend::Backend*> Open(Engine engine);
  /// AI.CONFIG LOADBACKEND: opens it now. `path` must lead to the file given at load, not opened yet.
  Status OpenAt(BackendKind kind, const std::string& path);
  /// AI.CONFIG BACKENDSPATH: an error unless `folder` is the one given at load.
  Status CheckFolder(const std::string& folder) const;
  const std::string& folder() const { return folder_; }
  /// Version of an opened library; null when it is not open.
  const char* version(Engine engine) const { return opened_[static_cast<size_t>(engine)].version; }

 private:
  struct Opened {
    std::string file;
    backend::Backend* backend = nullptr;         // guarded by opening_
    std::atomic<const char*> version = nullptr;  // written under opening_
  };
  Result<backend::Backend*> OpenOnce(Engine engine);
  Result<backend::Backend*> OpenFile(Engine engine);
  bool HasFile(Engine engine) const;
  std::string Absolute(const std::string& path) const;

  const Options options_;
  const std::string folder_;
  std::array<Opened, std::size(kEngines)> opened_;  // the files never change
  Engine onnx_engine_;
  std::mutex opening_;
  bool asked_for_[4] = {};  // by BackendKind; guarded by opening_
};

}  // namespace penstock

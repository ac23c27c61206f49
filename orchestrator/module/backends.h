// Opens backend libraries.
//
// DESIGN
//   A backend is opened once, by the first thread that loads something with it (never the main one), or in
//   the background at start when PRELOAD asks for it. The libraries it stands on are opened first, by
//   absolute path, so that no search path matters. Before a backend file is opened its bytes are asked which
//   version it was built for: one that does not fit would crash. Opened libraries are never closed. Which
//   file that is is settled by the module's load arguments: what is opened runs with the server's rights, so
//   clients may ask for that very file and for no other. Locks: opening_ is held for as long as opening
//   takes, so the main thread never asks for it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "backend.h"
#include "options.h"
#include "status.h"

namespace penstock {

class Backends {
 public:
  /// `folder` is where the module itself lies.
  Backends(const Options& options, const std::string& folder);
  /// The torch backend, opened now if it was not. Blocks for as long as that takes.
  Result<backend::Backend*> Torch();
  /// AI.CONFIG LOADBACKEND: opens it now. `path` must lead to the file given at load, not opened yet.
  Status OpenTorchAt(const std::string& path);
  /// AI.CONFIG BACKENDSPATH: an error unless `folder` is the one given at load.
  Status CheckFolder(const std::string& folder) const;
  const std::string& folder() const { return folder_; }
  /// Version of the opened torch; null when none is open.
  const char* torch_version() const { return version_; }

 private:
  Result<backend::Backend*> OpenOnce();
  Result<backend::Backend*> Open();
  std::string Absolute(const std::string& path) const;

  const Options options_;
  const std::string folder_;
  const std::string torch_file_;
  std::mutex opening_;
  backend::Backend* torch_ = nullptr;           // guarded by opening_
  std::atomic<const char*> version_ = nullptr;  // written under opening_
};

}  // namespace penstock

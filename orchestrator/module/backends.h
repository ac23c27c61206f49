// Opens backend libraries, and loads models and scripts with them.
//
// DESIGN
//   A backend is opened once, by the first thread that loads something with it (never the main one), or in
//   the background at start when PRELOAD asks for it. The libraries it stands on are opened first, by
//   absolute path, so that no search path matters. Before a backend file is opened its bytes are asked which
//   version it was built for: one that does not fit would crash. Opened libraries are never closed. Locks:
//   opening_ is held for as long as opening takes, so the main thread never asks for it; mutex_ only guards
//   the folder. opening_ is taken first.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "backend.h"
#include "executable.h"
#include "model.h"
#include "options.h"
#include "script.h"
#include "status.h"

namespace penstock {

class Backends {
 public:
  /// `folder` is where the module itself lies.
  Backends(const Options& options, std::string folder);
  /// The torch backend, opened now if it was not. Blocks for as long as that takes.
  Result<backend::Backend*> Torch();
  /// AI.CONFIG LOADBACKEND: `path` instead of the configured file, which must not have been opened yet.
  Status OpenTorchAt(const std::string& path);
  /// AI.CONFIG BACKENDSPATH.
  void SetFolder(const std::string& folder);
  std::string folder() const;
  /// Version of the opened torch; null when none is open.
  const char* torch_version() const { return version_; }

 private:
  Result<backend::Backend*> OpenOnce(const std::string& path);
  Result<backend::Backend*> Open(const Options& options, const std::string& file);

  std::mutex opening_;
  backend::Backend* torch_ = nullptr;           // guarded by opening_
  std::atomic<const char*> version_ = nullptr;  // written under opening_
  const Options options_;
  mutable std::mutex mutex_;
  std::string folder_;  // guarded by mutex_
};

/// Not loaded yet. When `before`, what the key held or is about to hold, has the same file, its program is
/// used.
ModelPtr NewModel(Backends* backends, std::shared_ptr<const ModelDefinition> definition, ModelPtr before);
ScriptPtr NewScript(Backends* backends, std::shared_ptr<const ScriptDefinition> definition);

}  // namespace penstock

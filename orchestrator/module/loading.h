// Makes models and scripts that know how to load themselves with a backend.
#pragma once

#include <functional>
#include <memory>

#include "backends.h"
#include "model.h"
#include "script.h"

namespace penstock {

/// Not loaded yet. When `before`, what the key held or is about to hold, has the same file, its program is
/// used. The thread that loads it calls `prepare` with its file first, once for all that share the file.
ModelPtr NewModel(
    Backends* backends, std::shared_ptr<const ModelDefinition> definition, ModelPtr before,
    std::function<void(ModelFile&)> prepare = [](ModelFile&) {});
ScriptPtr NewScript(Backends* backends, std::shared_ptr<const ScriptDefinition> definition);

}  // namespace penstock

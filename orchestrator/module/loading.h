// Makes models and scripts that know how to load themselves with a backend.
#pragma once

#include <memory>

#include "backends.h"
#include "model.h"
#include "script.h"

namespace penstock {

/// Not loaded yet. When `before`, what the key held or is about to hold, has the same file, its program is
/// used.
ModelPtr NewModel(Backends* backends, std::shared_ptr<const ModelDefinition> definition, ModelPtr before);
ScriptPtr NewScript(Backends* backends, std::shared_ptr<const ScriptDefinition> definition);

}  // namespace penstock

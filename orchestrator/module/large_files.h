// Large model files: moved to disk before they are loaded, so that the network does not need its memory
// beside that of its file.
#pragma once

#include "model.h"

namespace penstock {

/// A loader, which has not loaded it yet. Where that is not possible the file stays in memory, and the
/// log says why.
void MoveLargeFileToDisk(const Model& model);

}  // namespace penstock

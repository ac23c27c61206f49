// Large model files: moved to disk before they are loaded, so that the network does not need its memory
// beside that of its file.
#pragma once

#include "model_file.h"

namespace penstock {

/// Before it is loaded, by the thread that does. Where that is not possible the file stays in memory, and the
/// log says why.
void MoveToDiskIfLarge(ModelFile& file);

}  // namespace penstock

// Bytes that lie in a file without a name: the system keeps them in memory for as long as nobody needs that.
#pragma once

#include <string>
#include <vector>

#include "memory.h"
#include "status.h"

namespace penstock {

/// Writes the pieces one after another to a file in `folder` that has no name, so that it is gone with the
/// last hold on it, also when the process is killed. An error where there is no room, or where the folder is
/// itself in memory (tmpfs), which would gain nothing.
Result<BufferPtr> WriteToDisk(const std::vector<BufferPtr>& pieces, const std::string& folder);

}  // namespace penstock

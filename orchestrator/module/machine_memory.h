// How much memory this server may use.
#pragma once

#include <cstdint>

namespace penstock {

/// What the machine has, or what the server's control group allows it where that is less. Bytes.
int64_t MachineBytes();

}  // namespace penstock

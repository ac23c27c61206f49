// Names that nobody else has.
#pragma once

#include <cstddef>
#include <string>

#include "status.h"

namespace penstock {

/// So many random hexadecimal digits; an even number, 64 at most.
Result<std::string> RandomId(size_t digits);

}  // namespace penstock

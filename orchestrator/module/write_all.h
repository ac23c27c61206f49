// write() until everything is written.
#pragma once

#include <string_view>

namespace penstock {

/// False, and errno says why, when the system took no more.
bool WriteAll(int file, std::string_view bytes);

}  // namespace penstock

// Load arguments that lie beside the module: <module without .so>.arguments, a KEY VALUE pair on each line.
//
// DESIGN
//   RedisAI finds its backends from its own place, so programs that start a database name nothing but the
//   module (SmartSim does). Ours needs to know where torch is; where nobody says so on the command line, this
//   file does. What is on the command line comes after it and wins. Whoever can write beside the module can
//   replace the module, so the file is trusted as much as that.
#pragma once

#include <string>
#include <vector>

#include "status.h"

namespace penstock {

/// /x/redisai.so -> /x/redisai.arguments.
std::string ArgumentFileOf(const std::string& module);

/// The words of the file in order; none where there is no file. A value goes to the end of its line; empty
/// lines and those that begin with # say nothing.
Result<std::vector<std::string>> ReadArgumentFile(const std::string& path);

}  // namespace penstock

// Whether compiled code fits a processor.
#pragma once

#include <string>

namespace penstock {

/// The first instruction set of `wanted` (as the metadata of an AOTInductor package has it) that `there`, the
/// flags of /proc/cpuinfo between blanks, has not; empty when it has them all.
std::string MissingInstructionSet(const std::string& wanted, const std::string& there);

}  // namespace penstock

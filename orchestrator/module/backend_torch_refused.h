// torch's operators that no model may have: those that reach the files of the host, and those that
// check nothing of what they are given and write wherever it points.
#pragma once

#include <torch/script.h>

namespace penstock {

/// Puts operators that throw in the place of torch's, for the whole process: by whatever name code finds
/// them, also while it is loaded. Once, before any code is read.
void ReplaceRefusedOperators();
/// Throws when a function calls one.
void RefuseOperators(const torch::jit::CompilationUnit& unit);

}  // namespace penstock

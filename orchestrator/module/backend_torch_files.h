// torch's operators that reach the files of the host: who may store a model may not read or write those.
#pragma once

#include <torch/script.h>

namespace penstock {

/// Puts operators that throw in the place of torch's, for the whole process: by whatever name code finds
/// them, also while it is loaded. Once, before any code is read.
void ReplaceFileOperators();
/// Throws when a function calls one.
void RefuseFileAccess(const torch::jit::CompilationUnit& unit);

}  // namespace penstock

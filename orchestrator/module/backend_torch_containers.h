// Text, lists and dictionaries of TorchScript, which torch keeps outside of any allocator of ours.
#pragma once

#include <torch/script.h>

namespace penstock {

/// From now on nothing of the kind grows larger than a run may take memory: the operators that make them look
/// first. Each is measured alone: many that fit together may not. Once, before any code is read.
void BoundContainers();
/// The same where torch's interpreter needs no operator. For functions that have been read.
void GuardContainers(const torch::jit::CompilationUnit& unit);

}  // namespace penstock

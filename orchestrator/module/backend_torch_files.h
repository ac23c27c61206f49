// torch's operators that reach the files of the host: who may store a model may not read or write those.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/script.h>

#include <memory>

namespace penstock {

/// Throws when the code of a TorchScript archive names one. Before it is loaded, for loading runs some of it.
void RefuseFileAccess(const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& archive);
/// The same for compiled functions.
void RefuseFileAccess(const torch::jit::CompilationUnit& unit);

}  // namespace penstock

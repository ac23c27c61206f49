// AOTInductor packages: models that are compiled code, told apart from TorchScript by what is in the archive.
//
// DESIGN
//   torch loads a package from a file only, unpacks the compiled library and opens it; our file and torch's
//   are gone as soon as it is open. The library has been compiled for one instruction set: the host is asked
//   for it before anything is opened. It runs with the server's rights, which TorchScript does not, so the
//   module's arguments must have allowed it. As many threads as the device has workers run one package at
//   once, each on a runner of its own; who is more (a script of another device, the replacement of a worker
//   that was written off) waits in torch until one is free, and no run of compiled code can be told to end.
//   Its checks of inputs are switched on: without them a wrong shape reads what lies behind an array.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>

#include <memory>

#include "backend.h"

namespace penstock {

/// A program when the file is an AOTInductor package, null when it is something else. Throws why it cannot be
/// loaded, and what to do with an archive of torch.export that was never compiled.
std::unique_ptr<backend::Program> LoadTorchPackage(
    const backend::ModelSource& source,
    const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& reader,
    const backend::Settings& settings);

}  // namespace penstock

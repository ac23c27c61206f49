// The source code that torch is to compile, looked at before torch does.
#pragma once

#include <caffe2/serialize/inline_container.h>

#include <memory>
#include <string>
#include <string_view>

namespace penstock {

/// Null when it is no archive.
std::unique_ptr<caffe2::serialize::PyTorchStreamReader> OpenArchive(
    const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& reader);
/// Throws when torch's compiler would not come back from `code`; `what` is how the error calls it.
void RefuseDeepCode(const std::string& what, std::string_view code);
/// Throws for what is no archive of TorchScript, in words that say what to store; and, as above, for each of
/// its source files, and for the names of types in its values.
void CheckTorchScript(const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& archive);

}  // namespace penstock

// The source code that torch is to compile, looked at before torch does.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>

#include <memory>
#include <string>
#include <string_view>

namespace penstock {

/// Throws when torch's compiler would not come back from `code`; `what` is how the error calls it.
void RefuseDeepCode(const std::string& what, std::string_view code);
/// The same for each source file in an archive of TorchScript; what is no archive has none.
void RefuseDeepCode(const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& archive);

}  // namespace penstock

#include "backend_torch_source.h"

#include <c10/util/Exception.h>
#include <caffe2/serialize/inline_container.h>

#include "code_depth.h"

namespace penstock {

void RefuseDeepCode(const std::string& what, std::string_view code) {
  TORCH_CHECK(CodeDepth(code) <= kDeepestCode, what, " nests more than ", kDeepestCode,
              " deep: split it into functions");
}

void RefuseDeepCode(const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& archive) {
  caffe2::serialize::PyTorchStreamReader records(archive);
  for (const std::string& record : records.getAllRecords()) {
    if (!record.ends_with(".py")) continue;
    auto [code, size] = records.getRecord(record);
    RefuseDeepCode(record, {static_cast<const char*>(code.get()), size});
  }
}

}  // namespace penstock

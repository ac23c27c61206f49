#include "backend_torch_source.h"

#include <c10/util/Exception.h>

#include "code_depth.h"

namespace penstock {
namespace {

constexpr char kWhatToStore[] = "store what torch.jit.save writes of a scripted or traced network";

void CheckRecord(const std::string& name, std::string_view record) {
  if (name.ends_with(".py")) RefuseDeepCode(name, record);
  if (name.ends_with(".pkl"))
    TORCH_CHECK(PickleDepth(record) <= kDeepestCode, name, " has the name of a type that nests more than ",
                kDeepestCode, " deep, or a text that might be one");
}

}  // namespace

std::unique_ptr<caffe2::serialize::PyTorchStreamReader> OpenArchive(
    const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& reader) {
  try {
    return std::make_unique<caffe2::serialize::PyTorchStreamReader>(reader);
  } catch (const c10::Error&) {
    return nullptr;
  }
}

void RefuseDeepCode(const std::string& what, std::string_view code) {
  TORCH_CHECK(CodeDepth(code) <= kDeepestCode, what, " nests more than ", kDeepestCode,
              " deep: split it into functions");
}

void CheckTorchScript(const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& archive) {
  auto records = OpenArchive(archive);
  TORCH_CHECK(records != nullptr, "this is no file of TorchScript: ", kWhatToStore);
  TORCH_CHECK(records->hasRecord("constants.pkl"),
              "this file has no code, as torch.save writes it: ", kWhatToStore);
  for (const std::string& record : records->getAllRecords()) {
    if (!record.ends_with(".py") && !record.ends_with(".pkl")) continue;
    auto [content, size] = records->getRecord(record);
    CheckRecord(record, {static_cast<const char*>(content.get()), size});
  }
}

}  // namespace penstock

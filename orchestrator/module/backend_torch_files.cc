#include "backend_torch_files.h"

#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <iterator>
#include <regex>
#include <string>

namespace penstock {
namespace {

using torch::jit::Block;

constexpr const char* kOperators[] = {"aten::from_file", "aten::save"};

[[noreturn]] void Refuse(const std::string& name) {
  TORCH_CHECK(false, name, " reaches the files of the database's host, and is refused");
  std::abort();
}

void Check(const Block* block) {
  for (const torch::jit::Node* node : block->nodes()) {
    const std::string kind = node->kind().toQualString();
    if (std::find(std::begin(kOperators), std::end(kOperators), kind) != std::end(kOperators)) Refuse(kind);
    for (const Block* inner : node->blocks()) Check(inner);
  }
}

bool IsCode(const std::string& record) {
  const std::string ending = ".py";
  return record.rfind("code/", 0) == 0 && record.size() > ending.size() &&
         record.compare(record.size() - ending.size(), ending.size(), ending) == 0;
}

}  // namespace

void RefuseFileAccess(const std::shared_ptr<caffe2::serialize::ReadAdapterInterface>& archive) {
  static const std::regex named("\\b(?:torch|aten)\\s*\\.\\s*(from_file|save)\\b");
  caffe2::serialize::PyTorchStreamReader reader(archive);
  for (const std::string& record : reader.getAllRecords()) {
    if (!IsCode(record)) continue;
    auto [data, size] = reader.getRecord(record);
    const char* text = static_cast<const char*>(data.get());
    std::cmatch found;
    if (std::regex_search(text, text + size, found, named)) Refuse("torch." + found[1].str());
  }
}

void RefuseFileAccess(const torch::jit::CompilationUnit& unit) {
  for (const torch::jit::Function* function : unit.get_functions())
    Check(torch::jit::toGraphFunction(*function).graph()->block());
}

}  // namespace penstock

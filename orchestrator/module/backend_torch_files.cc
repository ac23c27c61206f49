#include "backend_torch_files.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "backend_torch_graph.h"
#include "backend_torch_operators.h"

namespace penstock {
namespace {

constexpr const char* kOperators[] = {"aten::from_file", "aten::save"};

void Refuse(const std::string& name) {
  TORCH_CHECK(false, name, " reaches the files of the database's host, and is refused");
}

}  // namespace

void ReplaceFileOperators() {
  auto refuse = [](const torch::jit::Operator& original) {
    return [name = original.schema().name()](torch::jit::Stack&) { Refuse(name); };
  };
  for (const char* name : kOperators)
    ReplaceOperators(name, [](const c10::FunctionSchema&) { return true; }, refuse);
}

void RefuseFileAccess(const torch::jit::CompilationUnit& unit) {
  EachNode(unit, [](const torch::jit::Node* node) {
    const std::string kind = node->kind().toQualString();
    if (std::find(std::begin(kOperators), std::end(kOperators), kind) != std::end(kOperators)) Refuse(kind);
  });
}

}  // namespace penstock

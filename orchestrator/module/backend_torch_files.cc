#include "backend_torch_files.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

namespace penstock {
namespace {

using torch::jit::Block;
using torch::jit::Operator;

constexpr const char* kOperators[] = {"aten::from_file", "aten::save"};

void Refuse(const std::string& name) {
  TORCH_CHECK(false, name, " reaches the files of the database's host, and is refused");
}

void Replace(const c10::FunctionSchema& schema) {
  torch::jit::deregisterOperator(schema);
  torch::jit::registerOperator(Operator(
      schema.name(), schema.overload_name(), schema.arguments(), schema.returns(),
      [name = schema.name()](torch::jit::Stack&) { Refuse(name); }, c10::AliasAnalysisKind::CONSERVATIVE));
}

void Check(const Block* block) {
  for (const torch::jit::Node* node : block->nodes()) {
    const std::string kind = node->kind().toQualString();
    if (std::find(std::begin(kOperators), std::end(kOperators), kind) != std::end(kOperators)) Refuse(kind);
    for (const Block* inner : node->blocks()) Check(inner);
  }
}

}  // namespace

void ReplaceFileOperators() {
  for (const char* name : kOperators) {
    std::vector<c10::FunctionSchema> overloads;
    for (const auto& known : torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString(name)))
      overloads.push_back(known->schema());
    for (const c10::FunctionSchema& schema : overloads) Replace(schema);
  }
}

void RefuseFileAccess(const torch::jit::CompilationUnit& unit) {
  for (torch::jit::Function* function : unit.get_functions()) {
    torch::jit::GraphFunction* known = torch::jit::tryToGraphFunction(*function);
    if (known != nullptr) Check(known->graph()->block());
  }
}

}  // namespace penstock

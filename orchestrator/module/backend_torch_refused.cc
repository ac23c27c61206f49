#include "backend_torch_refused.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "backend_torch_graph.h"
#include "backend_torch_operators.h"

namespace penstock {
namespace {

struct Refused {
  const char* name;
  const char* why;
};

constexpr char kFiles[] = "reaches the files of the database's host";
constexpr char kTrusts[] = "checks nothing of what it is given";

constexpr Refused kRefused[] = {
    {"aten::from_file", kFiles},
    {"aten::save", kFiles},
    {"aten::_sparse_coo_tensor_unsafe", kTrusts},
    {"aten::_sparse_coo_tensor_with_dims_and_tensors", kTrusts},
    {"aten::_sparse_compressed_tensor_unsafe", kTrusts},
    {"aten::_sparse_csr_tensor_unsafe", kTrusts},
    {"aten::_sparse_csc_tensor_unsafe", kTrusts},
    {"aten::_sparse_bsr_tensor_unsafe", kTrusts},
    {"aten::_sparse_bsc_tensor_unsafe", kTrusts},
    {"aten::_cummax_helper", kTrusts},
    {"aten::_cummin_helper", kTrusts},
};

void Refuse(const Refused& refused) {
  TORCH_CHECK(false, refused.name, " ", refused.why, ", and is refused");
}

}  // namespace

void ReplaceRefusedOperators() {
  auto any = [](const c10::FunctionSchema&) { return true; };
  for (const Refused& refused : kRefused) {
    auto refuse = [&refused](const torch::jit::Operator&) {
      return [&refused](torch::jit::Stack&) { Refuse(refused); };
    };
    ReplaceOperators(refused.name, any, refuse);
  }
}

void RefuseOperators(const torch::jit::CompilationUnit& unit) {
  EachNode(unit, [](const torch::jit::Node* node) {
    const std::string_view kind = node->kind().toQualString();
    const auto* found = std::find_if(std::begin(kRefused), std::end(kRefused),
                                     [kind](const Refused& refused) { return kind == refused.name; });
    if (found != std::end(kRefused)) Refuse(*found);
  });
}

}  // namespace penstock

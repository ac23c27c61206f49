#include "backend_torch_graph.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/enum_tag.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/peephole.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace penstock {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

void Collect(Block* block, std::vector<Node*>* nodes) {
  for (Node* node : block->nodes()) {
    nodes->push_back(node);
    for (Block* inner : node->blocks()) Collect(inner, nodes);
    bool forks = node->hasAttribute(c10::attr::Subgraph) &&
                 node->kindOf(c10::attr::Subgraph) == torch::jit::AttributeKind::g;
    if (forks) Collect(node->g(c10::attr::Subgraph)->block(), nodes);
  }
}

// What is still called after inlining, or takes a size from a tensor's values without saying so by a tag.
const std::set<std::string>& Opaque() {
  static const auto* names = new std::set<std::string>{"prim::Loop",
                                                       "prim::CallMethod",
                                                       "prim::CallFunction",
                                                       "prim::fork",
                                                       "prim::PythonOp",
                                                       "aten::repeat_interleave",
                                                       "aten::nonzero_numpy",
                                                       "aten::tensor_split",
                                                       "aten::_pack_padded_sequence",
                                                       "aten::_pad_packed_sequence",
                                                       "aten::to_sparse",
                                                       "aten::coalesce",
                                                       "aten::segment_reduce"};
  return *names;
}

// `training` is false for as long as the database has a model; its branches go with that.
void SetEvaluating(Graph* graph, Block* block) {
  for (Node* node : block->nodes()) {
    for (Block* inner : node->blocks()) SetEvaluating(graph, inner);
    if (node->kind() != c10::prim::GetAttr || node->s(c10::attr::name) != "training") continue;
    if (node->output()->type()->kind() != c10::TypeKind::BoolType) continue;
    torch::jit::WithInsertPoint at(node);
    node->output()->replaceAllUsesWith(graph->insertConstant(false));
  }
}

bool Raises(const Block* block) {
  auto nodes = block->nodes();
  return std::any_of(nodes.begin(), nodes.end(),
                     [](const Node* node) { return node->kind() == c10::prim::RaiseException; });
}

// What makes a number, a truth or a text of a tensor, and looks at its shape and type only, or takes a
// number that was beside it.
const std::set<std::string>& Modest() {
  static const auto* names = new std::set<std::string>{
      "aten::size",          "aten::sym_size",   "aten::len",           "aten::dim",
      "aten::ndimension",    "aten::numel",      "aten::stride",        "aten::storage_offset",
      "aten::element_size",  "aten::get_device", "aten::is_contiguous", "aten::is_floating_point",
      "aten::is_complex",    "aten::__is__",     "aten::__isnot__",     "prim::dtype",
      "prim::device",        "prim::layout",     "prim::shape",         "prim::itemsize",
      "prim::requires_grad", "prim::is_cuda",    "prim::is_cpu",        "prim::is_sparse",
      "prim::is_quantized",  "prim::isinstance", "prim::TupleUnpack",   "prim::TupleIndex"};
  return *names;
}

bool HoldsTensors(const c10::TypePtr& type) {
  if (type->kind() == c10::TypeKind::TensorType || type->kind() == c10::TypeKind::AnyType) return true;
  if (type->kind() == c10::TypeKind::ClassType) return false;  // the model: what it has does not change
  auto inner = type->containedTypes();
  return std::any_of(inner.begin(), inner.end(), HoldsTensors);
}

bool HoldsNumbers(const c10::TypePtr& type) {
  switch (type->kind()) {
    case c10::TypeKind::IntType:
    case c10::TypeKind::FloatType:
    case c10::TypeKind::BoolType:
    case c10::TypeKind::ComplexType:
    case c10::TypeKind::NumberType:
    case c10::TypeKind::StringType:
    case c10::TypeKind::AnyType:
      return true;
    default:
      break;
  }
  auto inner = type->containedTypes();
  return std::any_of(inner.begin(), inner.end(), HoldsNumbers);
}

bool AnyOf(c10::ArrayRef<const Value*> values, bool (*holds)(const c10::TypePtr&)) {
  return std::any_of(values.begin(), values.end(),
                     [holds](const Value* value) { return holds(value->type()); });
}

// A traced model takes a number from a tensor that holds nothing but a size.
bool TakesSize(const Node* node) {
  if (node->kind() != c10::aten::Int && node->kind() != c10::aten::Float) return false;
  return node->input(0)->node()->kind() == c10::prim::NumToTensor;
}

bool TakesValue(const Node* node) {
  if (!node->blocks().empty() || Modest().count(node->kind().toQualString()) > 0 || TakesSize(node))
    return false;
  return AnyOf(node->inputs(), HoldsTensors) && AnyOf(node->outputs(), HoldsNumbers);
}

// one_hot, bincount, nonzero, masks: the sizes of what comes out depend on values.
bool HasSizesOfValues(const Node* node) {
  constexpr size_t kConditionAlone = 1;
  if (node->kind() == c10::aten::where && node->inputs().size() == kConditionAlone) return true;
  const c10::FunctionSchema* schema = node->maybeSchema();
  if (schema == nullptr) return false;
  auto known = c10::Dispatcher::singleton().findOp(schema->operator_name());
  return known.has_value() &&
         (known->hasTag(at::Tag::dynamic_output_shape) || known->hasTag(at::Tag::data_dependent_output));
}

bool Straight(const Block* block) {
  for (const Node* node : block->nodes()) {
    if (Opaque().count(node->kind().toQualString()) > 0 || TakesValue(node) || HasSizesOfValues(node))
      return false;
    bool choice = node->kind() == c10::prim::If;
    if (choice && !Raises(node->blocks()[0]) && !Raises(node->blocks()[1])) return false;
    for (const Block* inner : node->blocks()) {
      if (!Raises(inner) && !Straight(inner)) return false;
    }
  }
  return true;
}

bool AnyConvolution(const Block* block) {
  auto nodes = block->nodes();
  return std::any_of(nodes.begin(), nodes.end(), [](const Node* node) {
    const std::string name = node->kind().toQualString();
    if (name.rfind("aten::conv", 0) == 0 || name.rfind("aten::_convolution", 0) == 0) return true;
    auto inner = node->blocks();
    return std::any_of(inner.begin(), inner.end(), AnyConvolution);
  });
}

// Weights that freezing has made constants, those in a layout of oneDNN's own among them.
uint64_t BytesOf(const Node* node) {
  if (!node->hasAttribute(c10::attr::value)) return 0;
  if (node->kindOf(c10::attr::value) == torch::jit::AttributeKind::t) {
    const at::Tensor& array = node->t(c10::attr::value);
    return static_cast<uint64_t>(array.numel()) * array.element_size();
  }
  if (node->kindOf(c10::attr::value) != torch::jit::AttributeKind::ival) return 0;
  const c10::IValue& value = node->ival(c10::attr::value);
  if (!value.isTensor()) return 0;
  return static_cast<uint64_t>(value.toTensor().numel()) * value.toTensor().element_size();
}

uint64_t BytesIn(const Block* block) {
  uint64_t bytes = 0;
  for (const Node* node : block->nodes()) {
    bytes += BytesOf(node);
    for (const Block* inner : node->blocks()) bytes += BytesIn(inner);
  }
  return bytes;
}

std::shared_ptr<Graph> Inlined(const torch::jit::Method& forward) {
  std::shared_ptr<Graph> graph = torch::jit::toGraphFunction(forward.function()).graph()->copy();
  torch::jit::Inline(*graph);
  return graph;
}

}  // namespace

void EachNode(const torch::jit::CompilationUnit& unit, const std::function<void(Node*)>& visit) {
  std::vector<Node*> nodes;
  for (torch::jit::Function* function : unit.get_functions()) {
    if (function == nullptr) continue;  // freezing has removed it
    torch::jit::GraphFunction* known = torch::jit::tryToGraphFunction(*function);
    if (known != nullptr) Collect(known->graph()->block(), &nodes);
  }
  for (Node* node : nodes) visit(node);
}

bool Convolves(const torch::jit::Module& module) {
  auto forward = module.find_method("forward");
  return forward.has_value() && AnyConvolution(Inlined(*forward)->block());
}

uint64_t ConstantBytes(const torch::jit::Method& forward) { return BytesIn(Inlined(forward)->block()); }

bool WritesInputs(const torch::jit::Method& forward) {
  std::shared_ptr<Graph> graph = Inlined(forward);
  std::vector<Node*> nodes;
  Collect(graph->block(), &nodes);
  // What is forked and never waited for counts for nothing in torch's own answer, nor does what is kept in
  // the module for the next run, when the input may be gone.
  bool hidden = std::any_of(nodes.begin(), nodes.end(), [](const Node* node) {
    return node->kind() == c10::prim::fork || node->kind() == c10::prim::SetAttr;
  });
  if (hidden) return true;
  torch::jit::AliasDb aliases(graph);
  auto inputs = graph->inputs();
  return std::any_of(inputs.begin() + 1, inputs.end(),
                     [&](Value* input) { return aliases.hasWriters(input); });
}

bool IsStraightLine(const torch::jit::Method& forward) {
  std::shared_ptr<Graph> graph = Inlined(forward);
  SetEvaluating(graph.get(), graph->block());
  torch::jit::PeepholeOptimize(graph);
  torch::jit::ConstantPropagation(graph);
  return Straight(graph->block());
}

}  // namespace penstock

#include "backend_torch_containers.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "allocation.h"
#include "backend_torch_graph.h"
#include "backend_torch_operators.h"

namespace penstock {
namespace {

using c10::IValue;
using torch::jit::Node;
using torch::jit::Stack;

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kEntryBytes = 64;   // of a dictionary, near enough
constexpr uint64_t kTextBytes = 64;    // of a text in a list, beside what it says
constexpr uint64_t kArrayBytes = 400;  // of one that is part of another, beside its numbers
constexpr uint64_t kNumberSigns = 24;  // of a number in a text

uint64_t Plus(uint64_t a, uint64_t b) { return a > kMost - b ? kMost : a + b; }

uint64_t Times(uint64_t a, int64_t b) {
  uint64_t product = 0;
  if (b <= 0) return 0;
  bool overflow = __builtin_mul_overflow(a, static_cast<uint64_t>(b), &product);
  return overflow ? kMost : product;
}

// Torch says what is wrong with a dimension that is none.
int64_t LengthOf(const at::Tensor& array, int64_t dimension) {
  bool is_one = dimension >= -array.dim() && dimension < array.dim();
  return is_one ? array.size(dimension) : 0;
}

uint64_t Bytes(const IValue& value) {
  if (value.isString()) return value.toStringRef().size();
  if (value.isList()) return value.toListRef().size() * sizeof(IValue);
  if (value.isGenericDict()) return value.toGenericDict().size() * kEntryBytes;
  return sizeof(IValue);
}

// As text. Of what holds itself there would be no end.
uint64_t Signs(const IValue& value, int depth = 0) {
  constexpr int kDeepest = 1000;
  TORCH_CHECK(depth < kDeepest, "what is to be written as text is nested more than ", kDeepest, " deep");
  if (value.isString()) return value.toStringRef().size() + 2;
  if (value.isTensor()) return Times(kNumberSigns, value.toTensor().numel());
  uint64_t sum = kNumberSigns;
  if (value.isList()) {
    for (const IValue& entry : value.toListRef()) sum = Plus(sum, Signs(entry, depth + 1));
  }
  if (value.isTuple()) {
    for (const IValue& entry : value.toTupleRef().elements()) sum = Plus(sum, Signs(entry, depth + 1));
  }
  if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict())
      sum = Plus(sum, Plus(Signs(entry.key(), depth + 1), Signs(entry.value(), depth + 1)));
  }
  return sum;
}

// What the result of an operator with these arguments takes, at most.
using Estimate = uint64_t (*)(Arguments arguments);

uint64_t All(Arguments arguments) {
  uint64_t sum = 0;
  for (const IValue& value : arguments) sum = Plus(sum, Bytes(value));
  return sum;
}

uint64_t Printed(Arguments arguments) {
  uint64_t sum = 0;
  for (const IValue& value : arguments) sum = Plus(sum, Signs(value));
  return sum;
}

// Of an array, as its second argument says: how many, or where they end.
uint64_t Parts(Arguments arguments) {
  const IValue& parts = arguments[1];
  if (parts.isInt()) return Times(kArrayBytes, parts.toInt());
  if (parts.isList()) return Times(kArrayBytes, static_cast<int64_t>(parts.toListRef().size()) + 1);
  const at::Tensor& array = parts.toTensor();
  return Times(kArrayBytes, array.dim() == 0 ? array.item().toLong() : array.numel() + 1);
}

uint64_t AtMostRows(Arguments arguments) {
  return std::min(Parts(arguments),
                  Times(kArrayBytes, LengthOf(arguments[0].toTensor(), arguments[2].toInt())));
}

uint64_t Rows(Arguments arguments) {
  return Times(kArrayBytes, LengthOf(arguments[0].toTensor(), arguments[1].toInt()));
}

// An array into parts of a size, a text into as many as it has signs.
uint64_t Split(Arguments arguments) {
  if (arguments[0].isString()) return Times(kTextBytes, static_cast<int64_t>(Bytes(arguments[0])));
  if (!arguments[0].isTensor()) return All(arguments);
  if (!arguments[1].isInt()) return Parts(arguments);
  int64_t whole = LengthOf(arguments[0].toTensor(), arguments[2].toInt());
  return Times(kArrayBytes, whole / std::max<int64_t>(arguments[1].toInt(), 1) + 1);
}

uint64_t Numbers(Arguments arguments) { return Times(sizeof(IValue), arguments[0].toTensor().numel()); }

uint64_t Repeated(Arguments arguments) {
  bool list_first = arguments[0].isList();
  return Times(Bytes(arguments[list_first ? 0 : 1]), arguments[list_first ? 1 : 0].toInt());
}

uint64_t Padded(Arguments arguments) { return std::max(Bytes(arguments[0]), Times(1, arguments[1].toInt())); }

uint64_t Expanded(Arguments arguments) { return Times(Bytes(arguments[0]), arguments[1].toInt()); }

uint64_t Joined(Arguments arguments) {
  uint64_t sum = 0;
  for (const IValue& part : arguments[1].toListRef()) sum = Plus(sum, Plus(Bytes(part), Bytes(arguments[0])));
  return sum;
}

// Text, old, new: of an empty `old` there is one between any two characters.
uint64_t Substituted(Arguments arguments) {
  uint64_t most = Bytes(arguments[0]) / std::max<uint64_t>(Bytes(arguments[1]), 1) + 1;
  return Plus(Bytes(arguments[0]), Times(Bytes(arguments[2]), static_cast<int64_t>(most)));
}

struct Growing {
  const char* name;
  Estimate estimate;
  bool always = false;  // whatever its arguments
};

constexpr Growing kGrowing[] = {
    {"aten::add", All},
    {"aten::add_", All},
    {"aten::append", All},
    {"aten::extend", All},
    {"aten::insert", All},
    {"aten::update", All},
    {"aten::_set_item", All},
    {"aten::setdefault", All},
    {"aten::mul", Repeated},
    {"aten::mul_", Repeated},
    {"aten::ljust", Padded},
    {"aten::rjust", Padded},
    {"aten::center", Padded},
    {"aten::zfill", Padded},
    {"aten::join", Joined},
    {"aten::replace", Substituted},
    {"aten::expandtabs", Expanded},
    {"aten::list", Split},
    {"aten::split", Split, true},
    {"aten::rsplit", Split},
    {"aten::splitlines", Split},
    {"aten::slice", All},
    {"aten::copy", All},
    {"aten::sorted", All},
    {"aten::keys", All},
    {"aten::values", All},
    {"aten::items", All},
    {"aten::dict", All, true},
    {"aten::unbind", Rows, true},
    {"aten::unbind_copy", Rows, true},
    {"aten::chunk", AtMostRows, true},
    {"aten::unsafe_chunk", AtMostRows, true},
    {"aten::unsafe_split", Split, true},
    {"aten::split_copy", Split, true},
    {"aten::split_with_sizes", Parts, true},
    {"aten::unsafe_split_with_sizes", Parts, true},
    {"aten::split_with_sizes_copy", Parts, true},
    {"aten::tensor_split", Parts, true},
    {"aten::hsplit", Parts, true},
    {"aten::vsplit", Parts, true},
    {"aten::dsplit", Parts, true},
    {"aten::str", Printed, true},
    {"prim::Print", Printed, true},
    {"aten::percentFormat", Printed, true},
};

bool IsContainer(const c10::TypePtr& type) {
  switch (type->kind()) {
    case c10::TypeKind::StringType:
    case c10::TypeKind::DictType:
      return true;
    case c10::TypeKind::ListType:  // lists of variable types; those of arrays are for arithmetic on arrays
      return type->castRaw<c10::ListType>()->getElementType()->kind() == c10::TypeKind::VarType;
    default:
      return false;
  }
}

// `t[] + t[]`, `int * t[]`, `str + str`, but nothing that takes an array.
bool MakesContainer(const c10::FunctionSchema& schema) {
  const auto& arguments = schema.arguments();
  return std::any_of(arguments.begin(), arguments.end(),
                     [](const c10::Argument& argument) { return IsContainer(argument.type()); });
}

// The interpreter has instructions of its own for these: our operator goes before them.
constexpr Growing kInstructions[] = {{"aten::format", Printed}, {"prim::tolist", Numbers}};

c10::Symbol CheckBefore(const Growing& instruction) {
  std::string name = instruction.name;
  return c10::Symbol::fromQualString("penstock::before_" + name.substr(name.find("::") + 2));
}

void RegisterChecks() {
  for (const Growing& instruction : kInstructions) {
    auto check = [estimate = instruction.estimate](Stack& stack) {
      size_t count = static_cast<size_t>(torch::jit::pop(stack).toInt());
      CheckAllocation(estimate(torch::jit::last(stack, count)));
      torch::jit::drop(stack, count);
    };
    torch::jit::registerOperator({std::string(CheckBefore(instruction).toQualString()) + "(...) -> ()", check,
                                  c10::AliasAnalysisKind::CONSERVATIVE});
  }
}

// A frozen module is made in the compilation unit of the one it was made from.
bool IsGuarded(const Node* node, c10::Symbol check) { return node->prev()->kind() == check; }

void GuardInstruction(Node* node) {
  for (const Growing& instruction : kInstructions) {
    c10::Symbol check = CheckBefore(instruction);
    if (node->kind() != c10::Symbol::fromQualString(instruction.name) || IsGuarded(node, check)) continue;
    node->owningGraph()->create(check, node->inputs(), 0)->insertBefore(node);
  }
}

}  // namespace

void GuardContainers(const torch::jit::CompilationUnit& unit) { EachNode(unit, GuardInstruction); }

void BoundContainers() {
  for (const Growing& growing : kGrowing) {
    auto chosen = [&growing](const c10::FunctionSchema& schema) {
      return growing.always || MakesContainer(schema);
    };
    LookBefore(growing.name, chosen,
               [estimate = growing.estimate](Arguments arguments) { CheckAllocation(estimate(arguments)); });
  }
  RegisterChecks();
}

}  // namespace penstock

#include "backend_torch_containers.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "allocation.h"
#include "backend_torch_operators.h"

namespace penstock {
namespace {

using c10::IValue;
using torch::jit::Block;
using torch::jit::Node;
using torch::jit::Stack;
using Values = c10::ArrayRef<IValue>;

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kEntryBytes = 64;   // of a dictionary, near enough
constexpr uint64_t kTextBytes = 64;    // of a text in a list, beside what it says
constexpr uint64_t kNumberSigns = 24;  // of a number in a text

uint64_t Plus(uint64_t a, uint64_t b) { return a > kMost - b ? kMost : a + b; }

uint64_t Times(uint64_t a, int64_t b) {
  uint64_t product = 0;
  if (b <= 0) return 0;
  bool overflow = __builtin_mul_overflow(a, static_cast<uint64_t>(b), &product);
  return overflow ? kMost : product;
}

uint64_t Bytes(const IValue& value) {
  if (value.isString()) return value.toStringRef().size();
  if (value.isList()) return value.toListRef().size() * sizeof(IValue);
  if (value.isGenericDict()) return value.toGenericDict().size() * kEntryBytes;
  return sizeof(IValue);
}

// As text.
uint64_t Signs(const IValue& value) {
  if (value.isString()) return value.toStringRef().size() + 2;
  if (value.isTensor()) return Times(kNumberSigns, value.toTensor().numel());
  uint64_t sum = kNumberSigns;
  if (value.isList()) {
    for (const IValue& entry : value.toListRef()) sum = Plus(sum, Signs(entry));
  }
  if (value.isTuple()) {
    for (const IValue& entry : value.toTupleRef().elements()) sum = Plus(sum, Signs(entry));
  }
  if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict())
      sum = Plus(sum, Plus(Signs(entry.key()), Signs(entry.value())));
  }
  return sum;
}

// What the result of an operator with these arguments takes, at most.
using Estimate = uint64_t (*)(Values arguments);

uint64_t All(Values arguments) {
  uint64_t sum = 0;
  for (const IValue& value : arguments) sum = Plus(sum, Bytes(value));
  return sum;
}

uint64_t Printed(Values arguments) {
  uint64_t sum = 0;
  for (const IValue& value : arguments) sum = Plus(sum, Signs(value));
  return sum;
}

// Into so many texts as it has signs.
uint64_t Split(Values arguments) {
  return arguments[0].isString() ? Times(kTextBytes, static_cast<int64_t>(Bytes(arguments[0])))
                                 : All(arguments);
}

uint64_t Numbers(Values arguments) { return Times(sizeof(IValue), arguments[0].toTensor().numel()); }

uint64_t Repeated(Values arguments) {
  bool list_first = arguments[0].isList();
  return Times(Bytes(arguments[list_first ? 0 : 1]), arguments[list_first ? 1 : 0].toInt());
}

uint64_t Padded(Values arguments) { return std::max(Bytes(arguments[0]), Times(1, arguments[1].toInt())); }

uint64_t Expanded(Values arguments) { return Times(Bytes(arguments[0]), arguments[1].toInt()); }

uint64_t Joined(Values arguments) {
  uint64_t sum = 0;
  for (const IValue& part : arguments[1].toListRef()) sum = Plus(sum, Plus(Bytes(part), Bytes(arguments[0])));
  return sum;
}

// Text, old, new: of an empty `old` there is one between any two characters.
uint64_t Substituted(Values arguments) {
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
    {"aten::split", Split},
    {"aten::rsplit", Split},
    {"aten::splitlines", Split},
    {"aten::str", Printed, true},
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

// Of arguments; none where each call says itself how many there are.
std::optional<size_t> CountOf(const c10::FunctionSchema& schema) {
  if (schema.is_vararg()) return std::nullopt;
  return schema.arguments().size();
}

Values Given(const Stack& stack, std::optional<size_t> count) {
  if (count) return torch::jit::last(stack, *count);
  auto said = static_cast<size_t>(stack.back().toInt());
  return torch::jit::last(stack, said + 1).slice(0, said);
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

void GuardIn(Block* block) {
  for (Node* node : block->nodes()) {
    for (Block* inner : node->blocks()) GuardIn(inner);
    for (const Growing& instruction : kInstructions) {
      c10::Symbol check = CheckBefore(instruction);
      if (node->kind() != c10::Symbol::fromQualString(instruction.name) || IsGuarded(node, check)) continue;
      block->owningGraph()->create(check, node->inputs(), 0)->insertBefore(node);
    }
  }
}

}  // namespace

void GuardContainers(const torch::jit::CompilationUnit& unit) {
  for (torch::jit::Function* function : unit.get_functions()) {
    torch::jit::GraphFunction* known = torch::jit::tryToGraphFunction(*function);
    if (known != nullptr) GuardIn(known->graph()->block());
  }
}

void BoundContainers() {
  for (const Growing& growing : kGrowing) {
    auto bounded = [estimate = growing.estimate](const torch::jit::Operator& original) {
      return [estimate, count = CountOf(original.schema()),
              operation = original.getOperation()](Stack& stack) mutable {
        CheckAllocation(estimate(Given(stack, count)));
        operation(stack);
      };
    };
    auto chosen = [&growing](const c10::FunctionSchema& schema) {
      return growing.always || MakesContainer(schema);
    };
    ReplaceOperators(growing.name, chosen, bounded);
  }
  RegisterChecks();
}

}  // namespace penstock

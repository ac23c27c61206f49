#include "backend_torch_containers.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "allocation.h"
#include "backend_torch_operators.h"

namespace penstock {
namespace {

using c10::IValue;
using torch::jit::Stack;
using Values = c10::ArrayRef<IValue>;

constexpr uint64_t kEntryBytes = 64;  // of a dictionary, near enough

uint64_t Times(uint64_t a, int64_t b) {
  uint64_t product = 0;
  if (b <= 0) return 0;
  bool overflow = __builtin_mul_overflow(a, static_cast<uint64_t>(b), &product);
  return overflow ? std::numeric_limits<uint64_t>::max() : product;
}

uint64_t Bytes(const IValue& value) {
  if (value.isString()) return value.toStringRef().size();
  if (value.isList()) return value.toListRef().size() * sizeof(IValue);
  if (value.isGenericDict()) return value.toGenericDict().size() * kEntryBytes;
  return sizeof(IValue);
}

// What the result of an operator with these arguments takes, at most.
using Estimate = uint64_t (*)(Values arguments);

uint64_t All(Values arguments) {
  uint64_t sum = 0;
  for (const IValue& value : arguments) sum += Bytes(value);
  return sum;
}

uint64_t Repeated(Values arguments) {
  bool list_first = arguments[0].isList();
  return Times(Bytes(arguments[list_first ? 0 : 1]), arguments[list_first ? 1 : 0].toInt());
}

uint64_t Padded(Values arguments) { return std::max(Bytes(arguments[0]), Times(1, arguments[1].toInt())); }

uint64_t Expanded(Values arguments) { return Times(Bytes(arguments[0]), arguments[1].toInt()); }

uint64_t Joined(Values arguments) {
  uint64_t sum = 0;
  for (const IValue& part : arguments[1].toListRef()) sum += Bytes(part) + Bytes(arguments[0]);
  return sum;
}

// Text, old, new: of an empty `old` there is one between any two characters.
uint64_t Substituted(Values arguments) {
  uint64_t most = Bytes(arguments[0]) / std::max<uint64_t>(Bytes(arguments[1]), 1) + 1;
  return Bytes(arguments[0]) + Times(Bytes(arguments[2]), static_cast<int64_t>(most));
}

struct Growing {
  const char* name;
  Estimate estimate;
};

constexpr Growing kGrowing[] = {
    {"aten::add", All},
    {"aten::add_", All},
    {"aten::append", All},
    {"aten::extend", All},
    {"aten::insert", All},
    {"aten::list", All},
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

}  // namespace

void BoundContainers() {
  for (const Growing& growing : kGrowing) {
    auto bounded = [estimate = growing.estimate](const torch::jit::Operator& original) {
      return [estimate, count = original.schema().arguments().size(),
              operation = original.getOperation()](Stack& stack) mutable {
        CheckAllocation(estimate(torch::jit::last(stack, count)));
        operation(stack);
      };
    };
    ReplaceOperators(growing.name, MakesContainer, bounded);
  }
}

}  // namespace penstock

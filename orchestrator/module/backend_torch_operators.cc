#include "backend_torch_operators.h"

#include <memory>
#include <optional>
#include <vector>

namespace penstock {

using torch::jit::Operator;

namespace {

// Only a text can say that there may be further arguments.
Operator Like(const c10::FunctionSchema& schema, torch::jit::Operation operation,
              c10::AliasAnalysisKind kind) {
  if (schema.is_vararg() || schema.is_varret()) return {c10::str(schema), std::move(operation), kind};
  return {schema.name(),    schema.overload_name(), schema.arguments(),
          schema.returns(), std::move(operation),   kind};
}

// Of arguments; none where each call says itself how many there are.
std::optional<size_t> CountOf(const c10::FunctionSchema& schema) {
  if (schema.is_vararg()) return std::nullopt;
  return schema.arguments().size();
}

Arguments Given(const torch::jit::Stack& stack, std::optional<size_t> count) {
  if (count) return torch::jit::last(stack, *count);
  auto said = static_cast<size_t>(stack.back().toInt());
  return torch::jit::last(stack, said + 1).slice(0, said);
}

}  // namespace

void ReplaceOperators(const char* name, const std::function<bool(const c10::FunctionSchema&)>& chosen,
                      const MakeOperation& make) {
  const std::vector<std::shared_ptr<Operator>> overloads =
      torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString(name));
  for (const std::shared_ptr<Operator>& original : overloads) {
    const c10::FunctionSchema& schema = original->schema();
    if (!chosen(schema)) continue;
    Operator ours = Like(schema, make(*original), original->aliasAnalysisKind());
    torch::jit::deregisterOperator(schema);
    torch::jit::registerOperator(std::move(ours));
  }
}

void LookBefore(const char* name, const std::function<bool(const c10::FunctionSchema&)>& chosen,
                const std::function<void(Arguments)>& look) {
  ReplaceOperators(name, chosen, [&look](const Operator& original) {
    return [look, count = CountOf(original.schema()),
            operation = original.getOperation()](torch::jit::Stack& stack) mutable {
      look(Given(stack, count));
      operation(stack);
    };
  });
}

}  // namespace penstock

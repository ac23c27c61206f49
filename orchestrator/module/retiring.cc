#include "retiring.h"

#include <vector>

#include "module_state.h"

namespace penstock {
namespace {

using Values = std::vector<std::shared_ptr<const void>>;

// Leaked on purpose: destructors of models must not run while the process leaves.
Values& retired() {
  static auto* values = new Values;
  return *values;
}

class Drop : public Task {
 public:
  explicit Drop(Values values) : values_(std::move(values)) {}
  void Run() override { values_.clear(); }
  void Deliver(std::unique_ptr<Task>) override {}

 private:
  Values values_;
};

}  // namespace

void Retire(std::shared_ptr<const void> value) {
  if (value != nullptr) retired().push_back(std::move(value));
}

void DropRetired() {
  if (retired().empty()) return;
  state().loader.Push(std::make_unique<Drop>(std::move(retired())));
  retired().clear();
}

}  // namespace penstock

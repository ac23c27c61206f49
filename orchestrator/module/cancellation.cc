#include "cancellation.h"

namespace penstock {

void Cancellation::Cancel() {
  std::lock_guard lock(mutex_);
  if (canceled_.exchange(true)) return;
  for (auto& [handle, hook] : hooks_) hook();
  hooks_.clear();
}

uint64_t Cancellation::Add(std::function<void()> hook) {
  std::lock_guard lock(mutex_);
  if (canceled_) {
    hook();
  } else {
    hooks_.emplace(++last_, std::move(hook));
  }
  return last_;
}

void Cancellation::Remove(uint64_t handle) {
  std::lock_guard lock(mutex_);
  hooks_.erase(handle);
}

AllCanceled::AllCanceled(std::vector<CancellationPtr> members, std::function<void()> then)
    : then_(std::move(then)), left_(members.size()) {
  members_.reserve(members.size());
  for (CancellationPtr& member : members) {
    uint64_t handle = member->Add([this] { MemberCanceled(); });
    members_.emplace_back(std::move(member), handle);
  }
}

AllCanceled::~AllCanceled() {
  for (auto& [member, handle] : members_) member->Remove(handle);
}

void AllCanceled::OnCancel(void (*stop)(void* data), void* data) noexcept {
  std::lock_guard lock(mutex_);
  stop_ = stop;
  data_ = data;
  if (stop_ != nullptr && Canceled()) std::exchange(stop_, nullptr)(data_);
}

void AllCanceled::MemberCanceled() {
  if (left_.fetch_sub(1) > 1) return;
  {
    std::lock_guard lock(mutex_);
    if (stop_ != nullptr) std::exchange(stop_, nullptr)(data_);
  }
  if (then_) then_();
}

}  // namespace penstock

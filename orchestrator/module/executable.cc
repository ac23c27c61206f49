#include "executable.h"

namespace penstock {

void RunStats::Reset() {
  for (auto* counter : {&calls, &errors, &duration_us, &samples}) counter->store(0);
}

void RunStats::GoOnFrom(const RunStats& other) {
  calls += other.calls;
  errors += other.errors;
  duration_us += other.duration_us;
  samples += other.samples;
}

Executable::Executable(std::string device, std::string tag, Load load)
    : device_(std::move(device)), tag_(std::move(tag)), load_(std::move(load)) {}

Result<ProgramPtr> Executable::Outcome() const {
  if (program_ != nullptr) return program_;
  return failure_;
}

Result<ProgramPtr> Executable::Settle() {
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [this] { return state_ != State::kLoading; });
  if (state_ == State::kSettled) return Outcome();
  state_ = State::kLoading;
  lock.unlock();
  Result<ProgramPtr> loaded = load_();
  if (loaded.ok()) program_ = *loaded;
  if (!loaded.ok()) failure_ = loaded.status();
  load_ = nullptr;
  lock.lock();
  state_ = State::kSettled;
  auto parked = std::move(parked_);
  lock.unlock();
  settled_.notify_all();
  for (auto& then : parked) then();
  return Outcome();
}

ProgramPtr Executable::program() const { return state_ == State::kSettled ? program_ : nullptr; }

bool Executable::WhenSettled(std::function<void()> then) {
  {
    std::lock_guard lock(mutex_);
    if (state_ != State::kSettled) {
      parked_.push_back(std::move(then));
      bool first = !promised_ && state_ == State::kUnloaded;
      promised_ = true;
      return first;
    }
  }
  then();
  return false;
}

}  // namespace penstock

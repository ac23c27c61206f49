// Programs and runs for the tests of the queues: what a test wants them to do, without a backend.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "check.h"
#include "run_queues.h"
#include "running.h"

namespace penstock::test {

using Body = std::function<void(const backend::Call&, backend::Sink&)>;
using Busy = std::function<bool()>;

/// A program whose run is `body`, and has to wait while it is `busy`.
class Program final : public backend::Program {
 public:
  explicit Program(Body body, Busy busy = nullptr) : body_(std::move(body)), busy_(std::move(busy)) {}
  void Run(const backend::Call& call, backend::Sink& out) noexcept override { body_(call, out); }
  bool TryRun(const backend::Call& call, backend::Sink& out) noexcept override {
    if (busy_ && busy_()) return false;
    body_(call, out);
    return true;
  }
  void Inputs(backend::Sink&) const noexcept override {}
  void Outputs(backend::Sink&) const noexcept override {}
  bool StraightLine() const noexcept override { return true; }
  uint64_t MemoryBytes() const noexcept override { return 0; }

 private:
  Body body_;
  Busy busy_;
};

/// A model that batches as told.
class BatchingModel final : public Executable {
 public:
  BatchingModel(Body body, Batching batching, std::string device = "CPU", Busy busy = nullptr)
      : Executable(std::move(device), "", [body, busy] { return ProgramPtr(new Program(body, busy)); }),
        batching_(batching) {}
  Batching batching() const override { return batching_; }

 private:
  Batching batching_;
};

using ModelPtr = std::shared_ptr<BatchingModel>;

inline ModelPtr Model(Body body, Batching batching = {}, Busy busy = nullptr) {
  return std::make_shared<BatchingModel>(std::move(body), batching, "CPU", std::move(busy));
}

/// Adds one to every float.
inline void AddOne(const backend::Call& call, backend::Sink& out) {
  for (size_t i = 0; i < call.input_count; ++i) {
    auto* values = static_cast<float*>(call.inputs[i].data);
    for (size_t k = 0; k < call.inputs[i].size / sizeof(float); ++k) values[k] += 1;
    out.Tensor(call.inputs[i]);
  }
}

inline TensorPtr Floats(std::vector<int64_t> dims, float first) {
  std::vector<float> values(*ElementCount(dims));
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
  std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return *Tensor::Make(DataType::kFloat, std::move(dims), CopyBytes(bytes));
}

inline float First(const RunResult& result) {
  float value = 0;
  if (result.outputs.empty() || result.outputs[0].tensor->bytes().empty()) return -1;
  std::memcpy(&value, result.outputs[0].tensor->bytes().data(), sizeof value);
  return value;
}

/// "ok", "TIMEDOUT" or the error.
inline std::string Text(const RunResult& result) {
  if (result.timed_out) return "TIMEDOUT";
  return result.status.ok() ? "ok" : result.status.text();
}

/// Takes the answers of runs, in the order in which they come.
class Answers {
 public:
  std::function<void(RunResult)> Slot(int number) {
    return [this, number](RunResult result) {
      std::lock_guard lock(mutex_);
      came_.emplace_back(number, std::move(result));
      changed_.notify_all();
    };
  }
  std::vector<std::pair<int, RunResult>> Wait(size_t count) {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return came_.size() >= count; }));
    return came_;
  }
  size_t count() {
    std::lock_guard lock(mutex_);
    return came_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<int, RunResult>> came_;  // guarded by mutex_
};

/// Holds every run at its beginning until it is opened, and says when one is there.
class Gate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void WaitFor(int runs) {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return waiting_ >= runs; }));
  }
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;    // guarded by mutex_: have come so far
  bool open_ = false;  // guarded by mutex_
};

inline RunRequest Request(ModelPtr model, std::vector<TensorPtr> inputs,
                          std::function<void(RunResult)> done) {
  RunRequest request;
  request.executable = std::move(model);
  for (TensorPtr& tensor : inputs) request.inputs.push_back({std::move(tensor), nullptr});
  request.output_count = request.inputs.size();
  request.done = std::move(done);
  return request;
}

/// Loads where it is asked to.
inline void LoadHere(const std::shared_ptr<Executable>& executable) { (void)executable->Settle(); }

}  // namespace penstock::test

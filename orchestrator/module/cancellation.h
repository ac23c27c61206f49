// Ending runs early: whoever asked leaves, the time is over, the server is told to go.
//
// DESIGN
//   A Cancellation belongs to who asked for a run (or for several, one after another). A worker that runs for
//   several askers at once, a batch, shows the backend an AllCanceled: the run goes on for as long as one of
//   them still wants it. Threads: everything here may be called by any. Locks: one mutex per object; hooks
//   are called under it, so that Remove() can promise that none is under way, and must not call back.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "backend.h"

namespace penstock {

class Cancellation {
 public:
  /// Idempotent.
  void Cancel();
  bool canceled() const { return canceled_.load(std::memory_order_relaxed); }
  /// `hook` is called once, when this is canceled; at once if that has happened. Returns a handle.
  uint64_t Add(std::function<void()> hook);
  /// The hook will not be called any more, nor is it being called.
  void Remove(uint64_t handle);

 private:
  std::atomic<bool> canceled_ = false;  // written under mutex_
  std::mutex mutex_;
  uint64_t last_ = 0;                                // guarded by mutex_
  std::map<uint64_t, std::function<void()>> hooks_;  // guarded by mutex_
};

using CancellationPtr = std::shared_ptr<Cancellation>;

/// What a backend sees of them: canceled when each one is.
class AllCanceled final : public backend::Canceler {
 public:
  /// `then` may be null; it is called once, by whichever thread cancels the last.
  AllCanceled(std::vector<CancellationPtr> members, std::function<void()> then);
  ~AllCanceled();
  AllCanceled(const AllCanceled&) = delete;
  AllCanceled& operator=(const AllCanceled&) = delete;
  bool Canceled() const noexcept override { return left_.load(std::memory_order_relaxed) == 0; }
  void OnCancel(void (*stop)(void* data), void* data) noexcept override;

 private:
  void MemberCanceled();

  std::function<void()> then_;
  std::atomic<size_t> left_;
  std::vector<std::pair<CancellationPtr, uint64_t>> members_;
  std::mutex mutex_;
  void (*stop_)(void*) = nullptr;  // guarded by mutex_
  void* data_ = nullptr;           // guarded by mutex_
};

}  // namespace penstock

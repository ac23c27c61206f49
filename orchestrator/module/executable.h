// What a model and a script have in common: they are loaded off the main thread, run there, and are counted.
//
// DESIGN
//   An Executable is made unloaded, on the main thread. Settle() loads it on the calling thread (never the
//   main one); a second caller waits for the first. WhenSettled() parks what must happen after the load, so
//   that a run which arrives while its model is loading waits instead of failing, and waits without holding a
//   worker. Replacing a model makes a new Executable; a run in flight keeps the old one alive by its
//   shared_ptr. Locks: mutex_ guards what is marked. program_ and failure_ are written before state_ becomes
//   settled and never after, so whoever saw it settled reads them without a lock: a fork that saves the
//   database must take none.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend.h"
#include "row_times.h"
#include "status.h"
#include "tiny.h"

namespace penstock {

using ProgramPtr = std::shared_ptr<backend::Program>;

/// Counted since the model or script was stored, or since the last reset.
struct RunStats {
  std::atomic<int64_t> calls{0};
  std::atomic<int64_t> errors{0};
  std::atomic<int64_t> duration_us{0};
  std::atomic<int64_t> samples{0};
  void Reset();
  void GoOnFrom(const RunStats& other);
};

/// How runs of one model may share a run. `size` is the most rows; 0 and 1: they do not.
struct Batching {
  int64_t size = 0;
  int64_t at_least = 0;               // rows to wait for
  std::chrono::milliseconds wait{0};  // for those, at most; 0: a time of our choice
};

class Executable {
 public:
  using Load = std::function<Result<ProgramPtr>()>;
  Executable(std::string device, std::string tag, Load load);
  virtual ~Executable() = default;
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  const std::string& device() const { return device_; }
  const std::string& tag() const { return tag_; }
  RunStats& stats() const { return stats_; }
  virtual BackendKind backend() const { return BackendKind::kTorch; }
  virtual Batching batching() const { return {}; }
  /// Its outputs did not have a row for each row of a batch: its runs share no more.
  void StopSharing() { shares_ = false; }
  bool shares() const { return shares_; }
  /// Which of its runs are short enough for the main thread.
  TinyRuns& tiny() { return tiny_; }
  /// Whether its runs had better share one.
  RowTimes& row_times() { return row_times_; }

  /// Loads, or waits for the thread that does. The program, or why there is none.
  Result<ProgramPtr> Settle();
  /// Loaded, or known not to load.
  bool settled() const { return state_ == State::kSettled; }
  /// Known not to load because there was no memory for it; there may be now.
  bool lacked_memory() const { return settled() && failure_.LacksMemory(); }
  /// The program when it is loaded, without waiting; else null.
  ProgramPtr program() const;
  /// Calls `then` once settled: now if it is. True when the caller must see to it that Settle() is called.
  bool WhenSettled(std::function<void()> then);

 private:
  enum class State { kUnloaded, kLoading, kSettled };
  Result<ProgramPtr> Outcome() const;

  const std::string device_;
  const std::string tag_;
  mutable RunStats stats_;
  std::atomic<bool> shares_ = true;
  TinyRuns tiny_;
  RowTimes row_times_;
  Load load_;  // dropped when settled
  ProgramPtr program_;
  Status failure_ = Status::Ok();

  std::mutex mutex_;
  std::condition_variable settled_;
  std::atomic<State> state_ = State::kUnloaded;  // written under mutex_
  bool promised_ = false;                        // guarded by mutex_: somebody will call Settle()
  std::vector<std::function<void()>> parked_;    // guarded by mutex_
};

}  // namespace penstock

#include <atomic>
#include <future>
#include <thread>

#include "check.h"
#include "work_queue.h"

using namespace penstock;

namespace {

struct Seen {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> events;  // guarded by mutex
  void Add(std::string event) {
    std::lock_guard lock(mutex);
    events.push_back(std::move(event));
    changed.notify_all();
  }
  std::vector<std::string> Wait(size_t count) {
    std::unique_lock lock(mutex);
    CHECK(changed.wait_for(lock, std::chrono::seconds(20), [&] { return events.size() >= count; }));
    return events;
  }
};

class Step : public Task {
 public:
  Step(Seen* seen, std::string name) : seen_(seen), name_(std::move(name)) {}
  void Run() override {
    if (begun != nullptr) begun->set_value();
    if (gate.valid()) gate.wait();
    outcome_ = "ran";
  }
  bool abandoned() const override { return gone; }
  void Deliver(std::unique_ptr<Task>) override { seen_->Add(name_ + " " + outcome_); }
  std::shared_future<void> gate;
  std::promise<void>* begun = nullptr;
  bool gone = false;

 private:
  Seen* seen_;
  std::string name_;
  std::string outcome_ = "abandoned";
};

void TasksEndInTheOrderTheyCame() {
  Seen seen;
  WorkQueue queue("test", 1);
  for (int i = 0; i < 50; ++i) queue.Push(std::make_unique<Step>(&seen, std::to_string(i)));
  auto events = seen.Wait(50);
  for (size_t i = 0; i < events.size(); ++i) CHECK_EQUAL(events[i], std::to_string(i) + " ran");
}

void WorkOfThoseWhoLeftIsSkipped() {
  Seen seen;
  WorkQueue queue("test", 1);
  auto task = std::make_unique<Step>(&seen, "a");
  task->gone = true;
  queue.Push(std::move(task));
  CHECK_EQUAL(seen.Wait(1)[0], "a abandoned");
}

void ATaskThatTakesVeryLongHoldsUpNoOther() {
  Seen seen;
  std::promise<void> go;
  auto gate = go.get_future().share();
  auto soon = Clock::now() + WorkQueue::kPatience / 2;
  auto later = Clock::now() + 10 * WorkQueue::kPatience;
  {
    WorkQueue queue("test", 1);
    CHECK(!queue.Sweep(later));
    for (int stuck = 0; stuck < WorkQueue::kMostWorkers; ++stuck) {
      std::promise<void> begun;
      auto busy = std::make_unique<Step>(&seen, "busy");
      busy->gate = gate;
      busy->begun = &begun;
      queue.Push(std::move(busy));
      begun.get_future().wait();
      CHECK(!queue.Sweep(later));  // nothing waits
      if (stuck + 1 == WorkQueue::kMostWorkers) break;
      queue.Push(std::make_unique<Step>(&seen, "patient"));
      CHECK(!queue.Sweep(soon));
      CHECK(queue.Sweep(later));
      CHECK_EQUAL(seen.Wait(static_cast<size_t>(stuck) + 1).back(), "patient ran");
    }
    queue.Push(std::make_unique<Step>(&seen, "hopeless"));
    CHECK(!queue.Sweep(later));
    go.set_value();
    constexpr size_t kAll = 2 * WorkQueue::kMostWorkers;
    CHECK_EQUAL(seen.Wait(kAll).size(), kAll);
  }
}

void StoppingDropsWhatIsQueuedAndJoins() {
  Seen seen;
  std::promise<void> go;
  WorkQueue queue("test", 2);
  auto gate = go.get_future().share();
  for (int i = 0; i < 10; ++i) {
    auto task = std::make_unique<Step>(&seen, "x");
    task->gate = gate;
    queue.Push(std::move(task));
  }
  queue.Stop();
  go.set_value();
  CHECK(queue.Join(Clock::now() + std::chrono::seconds(20)));
  std::lock_guard lock(seen.mutex);
  CHECK(seen.events.size() <= 2);
}

// Tasks that were never run belong to whoever joins: they release what only the main thread may touch.
void WhatIsPushedAfterTheStopIsDestroyedByWhoeverJoins() {
  class Last : public Task {
   public:
    explicit Last(std::atomic<std::thread::id>* destroyed) : destroyed_(destroyed) {}
    ~Last() override { *destroyed_ = std::this_thread::get_id(); }
    void Run() override {}
    void Deliver(std::unique_ptr<Task>) override {}

   private:
    std::atomic<std::thread::id>* destroyed_;
  };
  std::atomic<std::thread::id> destroyed;
  WorkQueue queue("test", 1);
  queue.Stop();
  std::thread loader([&] { queue.Push(std::make_unique<Last>(&destroyed)); });
  loader.join();
  CHECK(destroyed.load() == std::thread::id());
  CHECK(queue.Join(Clock::now() + std::chrono::seconds(20)));
  CHECK(destroyed.load() == std::this_thread::get_id());
}

void AWorkerThatDoesNotEndIsNotWaitedForForEver() {
  Seen seen;
  std::promise<void> go;
  std::promise<void> begun;
  class Long : public Task {
   public:
    Long(std::promise<void>* begun, std::shared_future<void> gate) : begun_(begun), gate_(std::move(gate)) {}
    void Run() override {
      begun_->set_value();
      gate_.wait();
    }
    void Deliver(std::unique_ptr<Task>) override {}

   private:
    std::promise<void>* begun_;
    std::shared_future<void> gate_;
  };
  WorkQueue queue("test", 1);
  queue.Push(std::make_unique<Long>(&begun, go.get_future().share()));
  begun.get_future().wait();
  queue.Stop();
  CHECK(!queue.Join(Clock::now()));
  go.set_value();
  CHECK(queue.Join(Clock::now() + std::chrono::seconds(20)));
}

void ADeadlineBeyondTheEndOfTheClockIsNone() {
  CHECK(!DeadlineIn(std::chrono::milliseconds::max()));
  CHECK(!DeadlineIn(std::chrono::floor<std::chrono::milliseconds>(Clock::duration::max())));
  auto before = Clock::now();
  auto deadline = DeadlineIn(std::chrono::milliseconds(5));
  CHECK(deadline && *deadline >= before + std::chrono::milliseconds(5));
  CHECK(deadline && *deadline <= Clock::now() + std::chrono::milliseconds(5));
}

}  // namespace

int main() {
  TasksEndInTheOrderTheyCame();
  WorkOfThoseWhoLeftIsSkipped();
  ATaskThatTakesVeryLongHoldsUpNoOther();
  StoppingDropsWhatIsQueuedAndJoins();
  WhatIsPushedAfterTheStopIsDestroyedByWhoeverJoins();
  AWorkerThatDoesNotEndIsNotWaitedForForEver();
  ADeadlineBeyondTheEndOfTheClockIsNone();
  return penstock::test::Report();
}

#include "run_queue.h"

#include <algorithm>
#include <condition_variable>
#include <list>
#include <mutex>
#include <set>
#include <system_error>
#include <unordered_map>

#include "running.h"
#include "threads.h"

namespace penstock {
namespace {

// A text that clients of RedisAI know.
constexpr char kOverLimit[] = "Exiting due to terminate flag being set to true";
constexpr char kNobodyWaits[] = "the run was canceled";

// And lets the main thread know how long such runs take.
Outcome RunMeasured(const std::vector<RunPtr>& members, backend::Canceler* canceler) {
  Stopwatch stopwatch;
  Outcome outcome = RunTogether(members, canceler);
  auto took = stopwatch.taken();
  Executable& executable = *members[0]->request.executable;
  int64_t rows = RowsOf(members);
  bool counts = outcome.status.ok() && members[0]->request.function.empty();
  if (counts) executable.tiny().Measured(ShapeKey(*members[0]), rows, took);
  if (counts && rows > 0)
    executable.row_times().Measured(KindOf(*members[0]), members.size() > 1, took / rows);
  return outcome;
}

}  // namespace

// What one worker does at a time.
struct RunQueue::Flight {
  explicit Flight(std::vector<RunPtr> taken) : members(std::move(taken)) {}
  std::vector<CancellationPtr> Cancellations() const {
    std::vector<CancellationPtr> all;
    for (const RunPtr& run : members) all.push_back(run->request.cancellation);
    return all;
  }
  const std::vector<RunPtr> members;
};

struct RunQueue::Shared : std::enable_shared_from_this<RunQueue::Shared> {
  struct Turn {
    std::shared_ptr<Executable> executable;
    Lane lane;
  };
  using Turns = std::list<Turn>;
  // Taken out with the mutex, to be answered and destroyed without: it may be the last to hold a model.
  struct Gone {
    std::vector<RunPtr> runs;
    Turns turns;
  };
  using FlightPtr = std::shared_ptr<Flight>;

  std::string device;
  QueueSettings settings;
  std::shared_ptr<Watch> watch;
  std::atomic<int64_t> outstanding = 0;  // waiting or running

  std::mutex mutex;
  std::condition_variable work;  // a run came, or stopping
  std::condition_variable left;  // a worker left
  Turns turns;                   // guarded by mutex, as is all that follows; in their order
  std::unordered_map<const Executable*, Turns::iterator> turn_of;
  std::set<FlightPtr> flying;
  int workers = 0;
  int idle = 0;  // of those
  int written_off = 0;
  int not_replaced = 0;  // of those: when there were too many
  bool stopping = false;

  int StartWorkers(int count);
  void Work();
  std::vector<RunPtr> Next(std::unique_lock<std::mutex>& lock);
  std::optional<Turns::iterator> FirstReady(Gone* gone, Clock::time_point* next);
  void Leave(Turns::iterator turn, Gone* gone);
  std::vector<RunPtr> TakeTurn(Turns::iterator turn);
  FlightPtr Begin(std::vector<RunPtr> runs);
  Outcome Fly(const FlightPtr& flight);
  bool End(const FlightPtr& flight);
  void Deliver(const Flight& flight, Outcome outcome);
  void Insert(RunPtr run, bool first);
  void RunSingly(const std::vector<RunPtr>& members);
  void Expire(const FlightPtr& flight);
  void WriteOff(const FlightPtr& flight);
  void ForgetAndAnswer(Run& run, RunResult result);
  void AnswerAll(const std::vector<RunPtr>& runs, const Status& status);
};

// With the mutex, for which the new ones wait. How many the system had threads for.
int RunQueue::Shared::StartWorkers(int count) {
  int started = 0;
  try {
    // Detached: Join() counts the workers down, because std::thread has no join with a deadline.
    for (; started < count; ++started)
      StartThread("ai-" + device, [shared = shared_from_this()] { shared->Work(); });
  } catch (const std::system_error& error) {
    settings.log("no thread for runs on " + device + ": " + error.what());
  }
  workers += started;
  return started;
}

void RunQueue::Shared::Work() {
  std::unique_lock lock(mutex);
  bool stays = true;
  while (stays) {
    std::vector<RunPtr> runs = Next(lock);
    if (runs.empty()) break;  // stopping
    FlightPtr flight = Begin(std::move(runs));
    lock.unlock();
    Outcome outcome = Fly(flight);
    lock.lock();
    stays = End(flight);
    lock.unlock();
    Deliver(*flight, std::move(outcome));
    flight.reset();
    lock.lock();
  }
  --workers;
  left.notify_all();
}

// Waits for it; empty when stopping.
std::vector<RunPtr> RunQueue::Shared::Next(std::unique_lock<std::mutex>& lock) {
  while (!stopping) {
    Gone gone;
    Clock::time_point next = Clock::time_point::max();
    auto turn = FirstReady(&gone, &next);
    if (!gone.runs.empty() || !gone.turns.empty()) {
      lock.unlock();
      AnswerAll(gone.runs, Status::Error(kNobodyWaits));
      gone = {};
      lock.lock();
    } else if (turn) {
      return TakeTurn(*turn);
    } else {
      ++idle;
      if (next == Clock::time_point::max()) {
        work.wait(lock);
      } else {
        work.wait_until(lock, next);
      }
      --idle;
    }
  }
  return {};
}

void RunQueue::Shared::Leave(Turns::iterator turn, Gone* gone) {
  turn_of.erase(turn->executable.get());
  gone->turns.splice(gone->turns.end(), turns, turn);
}

// The first lane whose head may run now, in the order of turns; `next` is when another may.
std::optional<RunQueue::Shared::Turns::iterator> RunQueue::Shared::FirstReady(Gone* gone,
                                                                              Clock::time_point* next) {
  Clock::time_point now = Clock::now();
  for (auto turn = turns.begin(); turn != turns.end();) {
    size_t before = turn->lane.size();
    turn->lane.TakeDeadHead(&gone->runs);
    outstanding -= static_cast<int64_t>(before - turn->lane.size());
    if (turn->lane.empty()) {
      Leave(turn++, gone);
      continue;
    }
    auto ready = turn->lane.ReadyAt(turn->executable->batching(), settings.patience);
    if (ready <= now) return turn;
    *next = std::min(*next, ready);
    ++turn;
  }
  return std::nullopt;
}

std::vector<RunPtr> RunQueue::Shared::TakeTurn(Turns::iterator turn) {
  Staff staff{workers, turns.size() == 1 ? idle : 0};
  std::vector<RunPtr> runs = turn->lane.Take(Fitting(turn->lane, *turn->executable, staff));
  if (turn->lane.empty()) {
    turn_of.erase(turn->executable.get());
    turns.erase(turn);
  } else {
    turns.splice(turns.end(), turns, turn);
  }
  if (!turns.empty()) work.notify_one();  // somebody else minds the others meanwhile
  return runs;
}

RunQueue::Shared::FlightPtr RunQueue::Shared::Begin(std::vector<RunPtr> runs) {
  for (const RunPtr& run : runs) run->began_at = Clock::now();
  auto flight = std::make_shared<Flight>(std::move(runs));
  flying.insert(flight);
  return flight;
}

Outcome RunQueue::Shared::Fly(const FlightPtr& flight) {
  std::weak_ptr<Flight> flown = flight;
  auto when_canceled = [this, self = shared_from_this(), flown] {
    watch->At(Clock::now() + settings.grace, [self, flown] {
      if (auto lost = flown.lock()) self->WriteOff(lost);
    });
  };
  AllCanceled canceler(flight->Cancellations(), std::move(when_canceled));
  auto limit = flight->members[0]->request.limit;
  if (!limit) return RunMeasured(flight->members, &canceler);
  auto handle = watch->At(Clock::now() + *limit, [self = shared_from_this(), flown] {
    if (auto late = flown.lock()) self->Expire(late);
  });
  Outcome outcome = RunMeasured(flight->members, &canceler);
  watch->Forget(handle);
  return outcome;
}

// False when this worker was written off meanwhile and replaced.
bool RunQueue::Shared::End(const FlightPtr& flight) {
  if (flying.erase(flight) > 0) {
    outstanding -= static_cast<int64_t>(flight->members.size());
    return true;
  }
  --written_off;
  if (not_replaced == 0) return false;
  --not_replaced;
  return true;
}

void RunQueue::Shared::Deliver(const Flight& flight, Outcome outcome) {
  const auto& members = flight.members;
  bool once_more = !outcome.status.ok() && members.size() > 1 && outcome.loaded;
  if (outcome.wrong_rows && members.size() > 1) members[0]->request.executable->StopSharing();
  if (once_more) return RunSingly(members);
  for (size_t i = 0; i < members.size(); ++i) {
    RunResult result{outcome.status, false, {}};
    if (outcome.status.ok()) result.outputs = std::move(outcome.members[i]);
    ForgetAndAnswer(*members[i], std::move(result));
  }
}

void RunQueue::Shared::RunSingly(const std::vector<RunPtr>& members) {
  for (auto run = members.rbegin(); run != members.rend(); ++run) {
    if ((*run)->dead()) {
      ForgetAndAnswer(**run, {Status::Error(kNobodyWaits), false, {}});
    } else {
      (*run)->may_share = false;
      Insert(*run, true);
    }
  }
}

void RunQueue::Shared::Insert(RunPtr run, bool first) {
  std::unique_lock lock(mutex);
  const auto& executable = run->request.executable;
  auto [found, is_new] = turn_of.try_emplace(executable.get());
  if (is_new) found->second = turns.insert(turns.end(), {executable, {}});
  ++outstanding;
  Lane& lane = found->second->lane;
  first ? lane.PushFront(std::move(run)) : lane.Push(std::move(run));
  lock.unlock();
  work.notify_one();
}

// Its time in the backend is over: its clients are told now, it is told to end.
void RunQueue::Shared::Expire(const FlightPtr& flight) {
  AnswerAll(flight->members, Status::Error(kOverLimit));
  for (const RunPtr& run : flight->members) run->request.cancellation->Cancel();
}

void RunQueue::Shared::WriteOff(const FlightPtr& flight) {
  std::unique_lock lock(mutex);
  if (stopping || flying.erase(flight) == 0) return;
  outstanding -= static_cast<int64_t>(flight->members.size());
  bool may = written_off - not_replaced < settings.most_written_off;
  ++written_off;
  bool replaced = may && StartWorkers(1) == 1;
  not_replaced += replaced ? 0 : 1;
  lock.unlock();
  settings.log(
      "a run on " + device + " does not end although it was canceled; " +
      (replaced ? "another worker takes the place of its own"
                : std::string(may ? "" : "too many do that already: ") + "this device has a worker less"));
  AnswerAll(flight->members, Status::Error(kNobodyWaits));
}

void RunQueue::Shared::ForgetAndAnswer(Run& run, RunResult result) {
  if (run.watch) watch->Forget(*run.watch);
  Answer(run, std::move(result));
}

void RunQueue::Shared::AnswerAll(const std::vector<RunPtr>& runs, const Status& status) {
  for (const RunPtr& run : runs) ForgetAndAnswer(*run, {status, false, {}});
}

RunQueue::RunQueue(std::string device, QueueSettings settings, std::shared_ptr<Watch> watch)
    : shared_(std::make_shared<Shared>()) {
  shared_->device = std::move(device);
  shared_->settings = std::move(settings);
  shared_->watch = std::move(watch);
  std::lock_guard lock(shared_->mutex);
  shared_->StartWorkers(shared_->settings.workers);
}

RunQueue::~RunQueue() {
  Stop();
  Join(Clock::time_point::max());
}

bool RunQueue::staffed() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->workers > 0;
}

void RunQueue::Push(RunPtr run) { shared_->Insert(std::move(run), false); }

bool RunQueue::IsFreeFor(const Executable& executable) const {
  if (shared_->outstanding == 0) return true;
  std::lock_guard lock(shared_->mutex);
  auto is_its = [&](const auto& entry) { return entry.executable.get() == &executable; };
  auto flies_its = [&](const auto& flight) {
    return flight->members[0]->request.executable.get() == &executable;
  };
  return std::all_of(shared_->turns.begin(), shared_->turns.end(), is_its) &&
         std::all_of(shared_->flying.begin(), shared_->flying.end(), flies_its);
}

void RunQueue::Sweep() {
  Shared::Gone gone;
  {
    std::lock_guard lock(shared_->mutex);
    for (auto turn = shared_->turns.begin(); turn != shared_->turns.end();) {
      auto swept = turn++;
      swept->lane.TakeDead(&gone.runs);
      if (swept->lane.empty()) shared_->Leave(swept, &gone);
    }
    shared_->outstanding -= static_cast<int64_t>(gone.runs.size());
  }
  shared_->AnswerAll(gone.runs, Status::Error(kNobodyWaits));
}

void RunQueue::Stop() {
  std::vector<CancellationPtr> running;
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
    for (const auto& flight : shared_->flying)
      for (const RunPtr& run : flight->members) running.push_back(run->request.cancellation);
  }
  shared_->work.notify_all();
  for (const CancellationPtr& cancellation : running) cancellation->Cancel();
}

bool RunQueue::Join(Clock::time_point deadline) {
  Shared::Turns dropped;  // destroyed last, without the lock
  std::unique_lock lock(shared_->mutex);
  auto gone = [this] { return shared_->workers == 0; };
  bool for_ever = deadline == Clock::time_point::max();
  if (for_ever) shared_->left.wait(lock, gone);
  bool all_left = for_ever || shared_->left.wait_until(lock, deadline, gone);
  dropped.swap(shared_->turns);
  shared_->turn_of.clear();
  return all_left;
}

}  // namespace penstock

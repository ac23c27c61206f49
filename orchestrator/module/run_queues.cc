#include "run_queues.h"

#include "running.h"

namespace penstock {
namespace {

// Anybody may store models for CPU:0 to CPU:999, which are all the same processor.
constexpr size_t kMostQueues = 32;

}  // namespace

RunQueues::RunQueues(QueueSettings settings, std::function<void(std::shared_ptr<Executable>)> load)
    : settings_(std::move(settings)), load_(std::move(load)), watch_(std::make_shared<Watch>()) {}

// What is still to come may hold a queue, which holds the watch.
RunQueues::~RunQueues() {
  watch_->Stop();
  watch_->Join(Clock::time_point::max());
}

RunQueue* RunQueues::For(const std::string& device) {
  std::lock_guard lock(mutex_);
  auto found = queues_.find(device);
  if (found != queues_.end()) return found->second.get();
  if (queues_.size() < kMostQueues) {
    QueueSettings settings = settings_;
    if (stopped_) settings.workers = 0;  // nobody would join them
    auto queue = std::make_unique<RunQueue>(device, std::move(settings), watch_);
    if (stopped_) queue->Stop();
    if (stopped_ || queue->staffed()) return (queues_[device] = std::move(queue)).get();
  }
  return queues_.empty() ? nullptr : queues_.begin()->second.get();
}

std::vector<RunQueue*> RunQueues::All() {
  std::lock_guard lock(mutex_);
  std::vector<RunQueue*> all;
  for (auto& [device, queue] : queues_) all.push_back(queue.get());
  return all;
}

// Who asked is answered at the deadline, wherever the run has got to.
void RunQueues::WatchOver(const RunPtr& run) {
  if (!run->request.deadline) return;
  run->watch = watch_->At(*run->request.deadline, [run] {
    Answer(*run, {Status::Ok(), true, {}});
    run->request.cancellation->Cancel();
  });
}

void RunQueues::Submit(RunRequest request) {
  auto run = std::make_shared<Run>(std::move(request));
  Status fits = run->CheckRows();
  if (!fits.ok()) return Answer(*run, {fits, false, {}});
  Submit(std::move(run));
}

bool RunQueues::IsFreeFor(const Executable& executable) {
  RunQueue* queue = For(executable.device());
  return queue == nullptr || queue->IsFreeFor(executable);
}

void RunQueues::Submit(RunPtr run) {
  RunQueue* queue = For(run->request.executable->device());
  if (queue == nullptr)
    return Answer(*run, {Status::Error("the system has no thread for the run"), false, {}});
  WatchOver(run);
  auto executable = run->request.executable;
  bool unloaded = executable->WhenSettled([queue, run] { queue->Push(run); });
  if (unloaded) load_(executable);
}

void RunQueues::Sweep() {
  for (RunQueue* queue : All()) queue->Sweep();
}

void RunQueues::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  for (RunQueue* queue : All()) queue->Stop();
  watch_->Stop();
}

bool RunQueues::Join(Clock::time_point deadline) {
  bool all_left = true;
  for (RunQueue* queue : All()) all_left = queue->Join(deadline) && all_left;
  return watch_->Join(deadline) && all_left;
}

}  // namespace penstock

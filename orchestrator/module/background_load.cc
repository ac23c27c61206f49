#include "background_load.h"

#include <atomic>

#include "model.h"
#include "module_state.h"
#include "redis_api.h"

namespace penstock {
namespace {

// Whoever waits for it hears of an error too; the log, for those who were answered before.
class Loading : public Task {
 public:
  explicit Loading(std::shared_ptr<Executable> executable) : executable_(std::move(executable)) {}
  void Run() override {
    auto* model = dynamic_cast<const Model*>(executable_.get());
    Status status = executable_->Settle().status();
    if (model != nullptr) model->definition().file->NeedNoMemory();
    if (!status.ok() && !(status.LacksMemory() && SaidLately()))
      redis::Log(nullptr, "warning", "cannot load what was stored: %s", status.text().c_str());
  }
  void Deliver(std::unique_ptr<Task>) override {}

 private:
  // Every run tries again where there was no memory.
  static bool SaidLately() {
    static std::atomic<Clock::rep> said = 0;
    Clock::rep now = Clock::now().time_since_epoch().count();
    Clock::rep last = said;
    bool lately = last != 0 && Clock::duration(now - last) < std::chrono::minutes(1);
    return lately || !said.compare_exchange_strong(last, now);
  }
  std::shared_ptr<Executable> executable_;
};

}  // namespace

std::unique_ptr<Task> BackgroundLoad(std::shared_ptr<Executable> executable) {
  return std::make_unique<Loading>(std::move(executable));
}

void LoadInBackground(std::shared_ptr<Executable> executable) {
  state().loader.Push(BackgroundLoad(std::move(executable)));
}

}  // namespace penstock

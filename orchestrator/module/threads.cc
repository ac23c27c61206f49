#include "threads.h"

#include <pthread.h>
#include <signal.h>

#include <memory>
#include <system_error>
#include <utility>

namespace penstock {
namespace {

// Signals are for the main thread: while one of these lives, threads start with all of them blocked, except
// those that tell of a crash.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (int crash : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigdelset(&all, crash);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// torch's compiler needs as much for code of the depth that it is given (code_depth.h). Pages that nobody
// touches are not taken.
constexpr size_t kStackBytes = 128 << 20;

struct Start {
  std::string name;
  std::function<void()> body;
};

void* Run(void* given) {
  std::unique_ptr<Start> start(static_cast<Start*>(given));
  pthread_setname_np(pthread_self(), start->name.c_str());
  start->body();
  return nullptr;
}

}  // namespace

void StartThread(const std::string& name, std::function<void()> body) {
  SignalsBlocked blocked;
  auto start = std::make_unique<Start>(Start{name.substr(0, 15), std::move(body)});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, Run, start.get());
  pthread_attr_destroy(&attributes);
  if (error != 0) throw std::system_error(error, std::generic_category());
  start.release();  // the thread has it
}

}  // namespace penstock

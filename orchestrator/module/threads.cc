#include "threads.h"

#include <pthread.h>
#include <signal.h>

#include <thread>

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

}  // namespace

void StartThread(const std::string& name, std::function<void()> body) {
  SignalsBlocked blocked;
  std::thread([name = name.substr(0, 15), body = std::move(body)] {
    pthread_setname_np(pthread_self(), name.c_str());
    body();
  }).detach();
}

}  // namespace penstock

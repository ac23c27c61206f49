// The server's lock, for a thread that a script runs on, or a loader.
//
// DESIGN
//   The main thread gives the lock up only while it waits for events, and never again once it joins the
//   workers at shutdown: so it is tried, not waited for, until the module stops or the run is canceled. Of
//   several threads that want it one tries and the others look on, or a dozen waiting scripts would wake a
//   dozen times as often. Who has the lock looks again: the run may have been canceled, and the server become
//   a replica, since. While writes are paused (CLIENT PAUSE, FAILOVER) a command would abort the server.
#pragma once

#include "cancellation.h"

namespace penstock {

class ServerLock {
 public:
  enum class For { kLooking, kCommands };
  ServerLock(const Cancellation& cancellation, For what);
  ~ServerLock();
  ServerLock(const ServerLock&) = delete;
  ServerLock& operator=(const ServerLock&) = delete;
  explicit operator bool() const { return locked_; }

 private:
  bool TryLock(const Cancellation& cancellation, For what);
  bool locked_ = false;
};

/// Nobody waits for the run any more, or the module stops.
bool IsOver(const Cancellation& cancellation);

}  // namespace penstock

// Clients that wait while other threads do their work.
//
// DESIGN
//   A Blocked belongs to whoever works for the client until that one delivers it, then to the server, which
//   frees it on the main thread after the reply. What it changes in the keyspace it changes in Finish(), on
//   the main thread, exactly once: when the client is answered, or when the server cleans up after a client
//   that has gone. The server calls back with a null client in that case, so Finish() works in the module's
//   detached context. A client that disconnects is told by OnGone(), at once. While writes are paused, one
//   that would write waits (write_pause.h). A BlockedTask is one for work that goes through a WorkQueue; if
//   its client has gone before it begins, it is skipped.
#pragma once

#include <atomic>
#include <memory>

#include "redis_api.h"
#include "status.h"
#include "work_queue.h"

namespace penstock {

class Blocked {
 public:
  /// Blocks the client of `context`. Main thread.
  explicit Blocked(RedisModuleCtx* context);
  virtual ~Blocked();
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;
  /// Any thread: the work is done, the client may be answered.
  static void Deliver(std::unique_ptr<Blocked> self);

 protected:
  /// Asked when it is delivered, by that thread: Finish() will change the keyspace, if writes are allowed.
  virtual bool Writes() const { return false; }
  /// Main thread: changes the keyspace.
  virtual void Finish() = 0;
  /// Main thread, after Finish, when there is still a client.
  virtual int Answer(RedisModuleCtx* context) = 0;
  /// Main thread: the client has disconnected, perhaps while others work on this.
  virtual void OnGone() = 0;
  int database() const { return database_; }

 private:
  static int OnReply(RedisModuleCtx*, RedisModuleString**, int);
  static void OnFree(RedisModuleCtx*, void*);
  static void OnDisconnect(RedisModuleCtx*, RedisModuleBlockedClient*);
  void FinishOnce();

  RedisModuleBlockedClient* client_;
  int database_;
  bool finished_ = false;  // main thread only
};

class BlockedTask : public Task, public Blocked {
 public:
  using Blocked::Blocked;
  bool abandoned() const override { return abandoned_; }
  void Deliver(std::unique_ptr<Task> self) final;

 protected:
  void OnGone() override { abandoned_ = true; }

 private:
  std::atomic<bool> abandoned_ = false;
};

}  // namespace penstock

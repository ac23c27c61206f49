// Clients that wait while a worker does their work.
//
// DESIGN
//   A BlockedTask belongs to a queue until a worker delivers it, then to the server, which frees it on the
//   main thread after the reply. What it changes in the keyspace it changes in Finish(), on the main thread,
//   exactly once: when the client is answered, or when the server cleans up after a client that has gone. The
//   server calls back with a null client in that case, so Finish() works in the module's detached context. A
//   client that disconnects marks its task abandoned; the queue then skips it if it has not begun.
#pragma once

#include <atomic>
#include <memory>

#include "redis_api.h"
#include "status.h"
#include "work_queue.h"

namespace penstock {

class BlockedTask : public Task {
 public:
  /// Blocks the client of `context`. Main thread.
  explicit BlockedTask(RedisModuleCtx* context);
  ~BlockedTask() override;
  bool abandoned() const override { return abandoned_; }
  void Deliver(std::unique_ptr<Task> self) final;

 protected:
  /// Main thread: changes the keyspace.
  virtual void Finish() = 0;
  /// Main thread, after Finish, when there is still a client.
  virtual int Answer(RedisModuleCtx* context) = 0;
  int database() const { return database_; }

 private:
  static int OnReply(RedisModuleCtx*, RedisModuleString**, int);
  static void OnFree(RedisModuleCtx*, void*);
  static void OnDisconnect(RedisModuleCtx*, RedisModuleBlockedClient*);
  void FinishOnce();

  RedisModuleBlockedClient* client_;
  int database_;
  bool finished_ = false;  // main thread only
  std::atomic<bool> abandoned_ = false;
};

}  // namespace penstock

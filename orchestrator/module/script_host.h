// What a running script may ask of the server: redis.execute and redisAI.model_execute.
//
// DESIGN
//   Called on a worker. Commands need the server's lock, which the main thread gives up only while it waits
//   for events, and never again once it joins the workers at shutdown: so the lock is tried, not waited for,
//   until the module stops. A model that a script runs is run on the script's own thread, without the lock.
#pragma once

#include <string>

#include "backend.h"
#include "redis_api.h"
#include "status.h"

namespace penstock {

class ScriptHost final : public backend::Host {
 public:
  /// `user` is empty where the server cannot say it.
  ScriptHost(int database, std::string user) : database_(database), user_(std::move(user)) {}
  void RunCommand(const backend::Bytes* arguments, size_t count, backend::ReplySink& reply) override;
  void RunModel(backend::Bytes key, const backend::TensorView* inputs, size_t input_count,
                size_t output_count, backend::Sink& outputs) override;

 private:
  Status CheckUser(RedisModuleString** command, size_t count) const;

  int database_;
  std::string user_;
};

/// Who sent the command; empty where the server cannot say it. Main thread.
std::string UserName(RedisModuleCtx* context);

}  // namespace penstock

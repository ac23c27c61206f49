// What a running script may ask of the server: redis.execute and redisAI.model_execute.
//
// DESIGN
//   Called on a worker. Commands need the server's lock (server_lock.h) and may do what the script's client
//   may (script_rights.h). A model that a script runs is run on the script's own thread, without the lock,
//   for as long as the script's run may go on; it counts in the model's statistics.
#pragma once

#include <string>

#include "backend.h"
#include "cancellation.h"
#include "model.h"
#include "redis_api.h"
#include "status.h"

namespace penstock {

class ScriptHost final : public backend::Host {
 public:
  /// `kModels`: a script that may run models but no commands, for a DAG that changes nothing.
  enum class May { kAll, kModels };
  /// On behalf of the client of `context`, until `cancellation`. Main thread.
  ScriptHost(RedisModuleCtx* context, CancellationPtr cancellation, May may = May::kAll);
  void RunCommand(const backend::Bytes* arguments, size_t count, backend::ReplySink& reply) override;
  void RunModel(backend::Bytes key, const backend::TensorView* inputs, size_t input_count,
                size_t output_count, backend::Sink& outputs) override;

 private:
  Result<ModelPtr> FindModel(std::string_view key) const;
  Result<ProgramPtr> Loaded(const ModelPtr& model) const;

  int database_;
  std::string user_;  // empty where the server cannot say it
  CancellationPtr cancellation_;
  May may_;
};

}  // namespace penstock

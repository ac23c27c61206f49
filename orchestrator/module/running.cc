#include "running.h"

#include <chrono>

#include "backend_bytes.h"
#include "integer_division.h"
#include "memory.h"
#include "run_tensors.h"

namespace penstock {
namespace {

using backend::Bytes;

int64_t MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();
}

int64_t Rows(const RunArray& array) {
  if (array.tensor != nullptr) return array.tensor->BatchSize();
  backend::TensorView view = array.kept->view();
  return view.rank == 0 ? 1 : view.dims[0];
}

void Count(Run& run, const RunResult& result) {
  RunStats& stats = run.request.executable->stats();
  stats.calls += 1;
  stats.errors += result.status.ok() && !result.timed_out ? 0 : 1;
  stats.duration_us += MicrosecondsSince(run.began_at);
  if (!result.outputs.empty()) stats.samples += Rows(result.outputs[0]);
}

}  // namespace

void Answer(Run& run, RunResult result) {
  if (run.claimed.exchange(true)) return;
  if (run.began_at.load() != Clock::time_point()) Count(run, result);
  run.request.done(std::move(result));
}

namespace {

// `run` is given the call and where its outputs go; false: it did nothing.
template <class RunIt>
Outcome RunProgram(const std::vector<RunPtr>& members, backend::Canceler* canceler, RunIt run) {
  const RunRequest& first = members[0]->request;
  std::vector<const std::vector<RunArray>*> given;
  std::vector<int64_t> rows;
  for (const RunPtr& member : members) {
    given.push_back(&member->request.inputs);
    rows.push_back(member->rows);
  }
  RunInputs inputs;
  Status filled = inputs.Fill(*first.executable, given);
  if (!filled.ok()) return {filled, false, true, false, {}};
  auto keys = ToBytes(first.keys);
  auto texts = ToBytes(first.texts);
  RunOutputs outputs(*first.executable, first.native, std::move(rows));
  backend::Call call{ToBytes(first.function),
                     inputs.views().data(),
                     inputs.views().size(),
                     first.output_count,
                     keys.data(),
                     keys.size(),
                     texts.data(),
                     texts.size(),
                     first.host.get(),
                     canceler,
                     first.keep && members.size() == 1,
                     SpareMemory()};
  DivisionWatch divisions;
  if (!run(call, outputs)) return {Status::Ok(), false, true, true, {}};
  Status status = divisions.Check();
  if (status.ok()) status = outputs.status();
  return {status, outputs.wrong_rows(), true, false, std::move(outputs.members())};
}

}  // namespace

Outcome RunTogether(const std::vector<RunPtr>& members, backend::Canceler* canceler) {
  auto program = members[0]->request.executable->Settle();  // loaded long since, or known not to load
  if (!program.ok()) return {program.status(), false, false, false, {}};
  return RunProgram(members, canceler, [&](const backend::Call& call, backend::Sink& out) {
    (*program)->Run(call, out);
    return true;
  });
}

Outcome RunTogetherNow(const std::vector<RunPtr>& members) {
  ProgramPtr program = members[0]->request.executable->program();
  return RunProgram(members, nullptr, [&](const backend::Call& call, backend::Sink& out) {
    return program->TryRun(call, out);
  });
}

}  // namespace penstock

#include <future>
#include <thread>

#include "check.h"
#include "executable.h"

using namespace penstock;
using penstock::test::Text;

namespace {

class Nothing : public backend::Program {
 public:
  void Run(const backend::Call&, backend::Sink&) noexcept override {}
  void Inputs(backend::Sink&) const noexcept override {}
  void Outputs(backend::Sink&) const noexcept override {}
  bool StraightLine() const noexcept override { return true; }
  uint64_t MemoryBytes() const noexcept override { return 0; }
};

void ItLoadsOnceHoweverManyAsk() {
  std::atomic<int> loads = 0;
  Executable executable("CPU", "", [&]() -> Result<ProgramPtr> {
    ++loads;
    return ProgramPtr(new Nothing);
  });
  CHECK(executable.program() == nullptr);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { CHECK(executable.Settle().ok()); });
  for (std::thread& thread : threads) thread.join();
  CHECK_EQUAL(loads.load(), 1);
  CHECK(executable.program() != nullptr);
}

void WhatIsParkedHappensAfterTheLoad() {
  std::promise<void> go;
  Executable executable("CPU", "", [&]() -> Result<ProgramPtr> {
    go.get_future().wait();
    return ProgramPtr(new Nothing);
  });
  std::atomic<int> happened = 0;
  auto then = [&] {
    CHECK(executable.program() != nullptr);
    ++happened;
  };
  CHECK(executable.WhenSettled(then));   // the first is asked to see to the load
  CHECK(!executable.WhenSettled(then));  // the others are not
  std::thread loader([&] { CHECK(executable.Settle().ok()); });
  CHECK_EQUAL(happened.load(), 0);
  go.set_value();
  loader.join();
  CHECK_EQUAL(happened.load(), 2);
  CHECK(!executable.WhenSettled(then));
  CHECK_EQUAL(happened.load(), 3);
}

void AFailureIsToldToAll() {
  Executable executable("CPU", "", []() -> Result<ProgramPtr> { return Status::Error("garbage"); });
  int happened = 0;
  executable.WhenSettled([&] { ++happened; });
  CHECK_EQUAL(Text(executable.Settle()), "garbage");
  CHECK_EQUAL(Text(executable.Settle()), "garbage");
  CHECK_EQUAL(happened, 1);
  CHECK(executable.program() == nullptr);
}

}  // namespace

int main() {
  ItLoadsOnceHoweverManyAsk();
  WhatIsParkedHappensAfterTheLoad();
  AFailureIsToldToAll();
  return penstock::test::Report();
}

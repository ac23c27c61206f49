#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <future>
#include <limits>
#include <thread>

#include "check.h"
#include "integer_division.h"

using namespace penstock;

namespace {

#if defined(__x86_64__)

constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();

struct Divided {
  uint64_t quotient;
  uint64_t remainder;
  uint64_t marker;  // written by the instruction behind the division
};

// In assembly: a compiler may not know what is divided by what, and sanitizers look at divisions of C++.
#define DIVIDE(name, instruction, constraint, type)                                            \
  Divided name(uint64_t low, uint64_t high, type divisor) {                                    \
    Divided result{low, high, 0};                                                              \
    asm volatile(instruction "\n\tmovl $1, %k[marker]"                                         \
                 : "+a"(result.quotient), "+d"(result.remainder), [marker] "+r"(result.marker) \
                 : [by] constraint(divisor)                                                    \
                 : "cc", "r9");                                                                \
    return result;                                                                             \
  }

DIVIDE(Signed, "idivq %[by]", "r", int64_t)
DIVIDE(SignedByHighRegister, "movq %[by], %%r9; idivq %%r9", "r", int64_t)
DIVIDE(Unsigned, "divl %k[by]", "r", uint64_t)
DIVIDE(Short, "divw %w[by]", "r", uint64_t)
DIVIDE(Byte, "divb %b[by]", "r", uint64_t)
DIVIDE(FromMemory, "idivq %[by]", "m", int64_t)

Divided FromTable(uint64_t low, uint64_t high, int64_t by, int64_t index) {
  int64_t table[64];
  for (int64_t& entry : table) entry = by;
  Divided result{low, high, 0};
  asm volatile("idivq 8(%[table],%[index],8)\n\tmovl $1, %k[marker]"
               : "+a"(result.quotient), "+d"(result.remainder), [marker] "+r"(result.marker)
               : [table] "r"(table), [index] "r"(index), "m"(table)
               : "cc");
  return result;
}

const int64_t kZero = 0;
Divided FromFarAway(uint64_t low, uint64_t high) {
  Divided result{low, high, 0};
  asm volatile("idivq %[by]\n\tmovl $1, %k[marker]"
               : "+a"(result.quotient), "+d"(result.remainder), [marker] "+r"(result.marker)
               : [by] "m"(kZero)
               : "cc");
  return result;
}

void CheckZero(const Divided& result, const DivisionWatch& watch, uint64_t upper = 0) {
  CHECK_EQUAL(result.quotient, upper);
  CHECK_EQUAL(result.marker, 1u);
  CHECK(!watch.Check().ok());
}

void EveryFormOfTheInstructionGivesZero() {
  constexpr uint64_t kUpper = 0x1234567812340000;
  {
    DivisionWatch watch;
    CHECK(watch.Check().ok());
    CHECK_EQUAL(Signed(42, 0, 5).quotient, 8u);
    CHECK(watch.Check().ok());
    CheckZero(Signed(42, 0, 0), watch);
  }
  auto refused = [](auto divide, uint64_t upper = 0) {
    DivisionWatch watch;
    CheckZero(divide(), watch, upper);
  };
  refused([] { return Signed(static_cast<uint64_t>(kLowest), ~0ull, -1); });
  refused([] { return SignedByHighRegister(42, 0, 0); });
  refused([] { return Unsigned(42, 0, 0); });
  refused([] { return Short(kUpper + 42, 0, 0); }, kUpper);
  refused([] { return Byte(kUpper + 42, 0, 0); }, kUpper);
  refused([] { return FromMemory(42, 0, 0); });
  for (int64_t index : {0, 40}) refused([index] { return FromTable(42, 0, 0, index); });
  refused([] { return FromFarAway(42, 0); });
}

void WatchesOfOneThreadAndOfOthers() {
  DivisionWatch outer;
  {
    DivisionWatch inner;
    Signed(42, 0, 0);
    CHECK(!inner.Check().ok());
  }
  CHECK(!outer.Check().ok());
  DivisionWatch later;
  CHECK(later.Check().ok());
  std::thread([] {
    DivisionWatch own;
    Signed(42, 0, 0);
  }).join();
  CHECK(later.Check().ok());
  CHECK(!later.OnlyElsewhere());
  std::thread([] { Signed(42, 0, 0); }).join();  // as in a pool: it may have worked for anybody
  CHECK(!later.Check().ok() && later.OnlyElsewhere());
}

// What a child process of ours died of.
template <class Body>
int EndOf(Body body) {
  pid_t child = fork();
  if (child == 0) {
    signal(SIGFPE, SIG_DFL);
    HandleRefusedDivisions();
    body();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

void WithoutAWatchTheFormerHandlerIsCalled() {
  CHECK_EQUAL(EndOf([] { Signed(42, 0, 0); }), SIGFPE);
  CHECK_EQUAL(EndOf([] {
                std::promise<void> watching;
                std::thread([&watching] {
                  DivisionWatch watch;
                  watching.set_value();
                  pause();
                }).detach();
                watching.get_future().wait();
                Signed(42, 0, 0);  // of the main thread's own
              }),
              SIGFPE);
  CHECK_EQUAL(EndOf([] {
                DivisionWatch watch;
                kill(getpid(), SIGFPE);
              }),
              SIGFPE);
  CHECK_EQUAL(EndOf([] {
                signal(SIGFPE, SIG_DFL);
                HandleRefusedDivisions();
                HandleRefusedDivisions();
                DivisionWatch watch;
                Signed(42, 0, 0);
              }),
              0);
}

#else

void EveryFormOfTheInstructionGivesZero() {}
void WatchesOfOneThreadAndOfOthers() {}
void WithoutAWatchTheFormerHandlerIsCalled() {}

#endif

}  // namespace

int main() {
  HandleRefusedDivisions();
  EveryFormOfTheInstructionGivesZero();
  WatchesOfOneThreadAndOfOthers();
  WithoutAWatchTheFormerHandlerIsCalled();
  return penstock::test::Report();
}

#include <future>
#include <set>
#include <thread>

#include "arena_clients.h"
#include "check.h"

using namespace penstock;
using penstock::test::Text;

namespace {

constexpr uint64_t kPages = 9;  // eight of them blocks
constexpr uint64_t kBytes = kPages * kArenaPage;
constexpr std::chrono::seconds kDeadline{60};

// Processes that end when the test says so; pid and serial number are the same.
class FakeProcesses : public Processes {
 public:
  Result<uint64_t> Watch(int64_t pid) override {
    if (pid == 404) return Status::Error("process 404 is not on the server's host");
    watched.insert(static_cast<uint64_t>(pid));
    return static_cast<uint64_t>(pid);
  }
  bool HasEnded(uint64_t serial) override { return ended.count(serial) > 0; }
  void Forget(uint64_t serial) override { watched.erase(serial); }
  std::set<uint64_t> watched;
  std::set<uint64_t> ended;
};

struct Fixture {
  Fixture() : arena(std::move(*SharedMemory::Create(kBytes))) {
    arena.OnRoom([this] { clients.Serve(); });
    arena.Extend(kBytes);
    CHECK(clients.Introduce(1, 100).ok());
    CHECK(clients.Introduce(2, 200).ok());
  }
  uint64_t Used() { return arena.counts().used; }
  std::future<Result<uint64_t>> Ask(uint64_t client, uint64_t bytes,
                                    std::chrono::milliseconds time = kDeadline) {
    auto promise = std::make_shared<std::promise<Result<uint64_t>>>();
    clients.LeaseInTime(client, bytes, Clock::now() + time,
                        [promise](Result<uint64_t> offset) { promise->set_value(std::move(offset)); });
    return promise->get_future();
  }
  Arena arena;
  FakeProcesses processes;
  Watch watch;
  ArenaClients clients{&arena, &processes, &watch};
};

bool Ready(std::future<Result<uint64_t>>& answer) {
  return answer.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

std::string Answer(std::future<Result<uint64_t>>& answer) {
  if (answer.wait_for(kDeadline) != std::future_status::ready) return "no answer";
  return Text(answer.get());
}

void StrangersGetNothing() {
  Fixture f;
  const char* stranger = "this connection has not said which process it belongs to: PENSTOCK.ARENA PID first";
  CHECK_EQUAL(Text(f.clients.Lease(9, 64)), stranger);
  CHECK_EQUAL(Text(f.clients.LeaseAt(9, 64)), stranger);
  CHECK_EQUAL(Text(f.clients.TakeOver(9, 1)), stranger);
  CHECK_EQUAL(f.clients.Pin(9, 64, 64, nullptr).text(), stranger);
  CHECK_EQUAL(f.clients.Release(9, {64}).text(), stranger);
  auto answer = f.Ask(9, 64);
  CHECK_EQUAL(Answer(answer), stranger);
  CHECK_EQUAL(f.clients.Introduce(9, 404).text(), "process 404 is not on the server's host");
  CHECK_EQUAL(f.clients.Introduce(1, 200).text(), "this connection belongs to process 100");
  CHECK(f.clients.Introduce(1, 100).ok());
  f.clients.ConnectionEnded(9);
  f.clients.ProcessEnded(900);
}

void WhatIsNotOnesOwnIsRefused() {
  Fixture f;
  uint64_t offset = *f.clients.Lease(1, 64);
  CHECK_EQUAL(Text(f.clients.LeaseAt(2, offset)),
              "this connection has no lease at offset " + std::to_string(offset));
  CHECK_EQUAL(Text(f.clients.LeaseAt(1, offset + 64)),
              "this connection has no lease at offset " + std::to_string(offset + 64));
  std::string none = "this connection holds no block at offset " + std::to_string(offset);
  CHECK_EQUAL(f.clients.Release(2, {offset}).text(), none);
  CHECK_EQUAL(f.clients.Release(1, {offset, offset}).text(), none);  // all or none
  CHECK(f.clients.LeaseAt(1, offset).ok());
  CHECK(f.clients.Release(1, {offset}).ok());
  CHECK_EQUAL(f.Used(), 0u);
  CHECK_EQUAL(Text(f.clients.Lease(1, kBytes)),
              "a block of 36864 bytes does not fit into the arena of 36864");
}

void APinKeepsWhatHasNoKeyAnyMore() {
  Fixture f;
  uint64_t offset = *f.clients.Lease(1, 128);
  std::shared_ptr<const void> tensor = *f.clients.LeaseAt(1, offset);
  f.clients.EndLease(1, offset);
  CHECK(f.clients.Pin(2, offset, 128, tensor).ok());
  CHECK(f.clients.Pin(2, offset, 128, tensor).ok());
  CHECK(f.clients.Pin(1, offset, 128, tensor).ok());
  tensor.reset();  // its key goes
  CHECK_EQUAL(f.clients.counts().pinned, 256u);
  CHECK(f.clients.Release(2, {offset}).ok());
  CHECK(f.clients.Release(1, {offset}).ok());
  CHECK_EQUAL(f.Used(), 128u);
  CHECK(f.clients.Release(2, {offset}).ok());
  CHECK_EQUAL(f.Used(), 0u);
}

void AClientThatIsGoneLosesNothing() {
  for (bool process_first : {true, false}) {
    Fixture f;
    (void)f.clients.Lease(1, 128);
    uint64_t pinned = *f.clients.Lease(1, 64);
    CHECK(f.clients.Pin(1, pinned, 64, *f.clients.LeaseAt(1, pinned)).ok());
    f.clients.EndLease(1, pinned);
    CHECK_EQUAL(f.Used(), 192u);
    if (process_first) {
      f.clients.ProcessEnded(100);  // somebody else holds its connection, and may write
      CHECK_EQUAL(f.Used(), 192u);
      f.clients.ConnectionEnded(1);
    } else {
      f.clients.ConnectionEnded(1);
      CHECK_EQUAL(f.clients.counts().quarantined, 192u);
      CHECK_EQUAL(f.clients.counts().leased + f.clients.counts().pinned, 0u);
      CHECK_EQUAL(f.Used(), 192u);
      f.clients.ProcessEnded(100);
    }
    CHECK_EQUAL(f.Used(), 0u);
    CHECK_EQUAL(f.clients.counts().processes, 1u);
    CHECK_EQUAL(f.processes.watched.count(100), 0u);
  }
}

void AConnectionThatHeldNothingIsForgotten() {
  Fixture f;
  f.clients.ConnectionEnded(1);
  CHECK_EQUAL(f.processes.watched.count(100), 0u);
  CHECK_EQUAL(f.clients.counts().processes, 1u);
}

void AnotherConnectionOfTheProcessTakesOver() {
  Fixture f;
  uint64_t lease = *f.clients.Lease(1, 64);
  uint64_t pin = *f.clients.Lease(1, 64);
  CHECK(f.clients.Pin(1, pin, 64, *f.clients.LeaseAt(1, pin)).ok());
  CHECK(f.clients.Pin(1, pin, 64, *f.clients.LeaseAt(1, pin)).ok());
  f.clients.EndLease(1, pin);
  f.clients.ConnectionEnded(1);
  CHECK(f.clients.Introduce(3, 100).ok());
  CHECK_EQUAL(Text(f.clients.TakeOver(2, 1)), "connection 1 belongs to another process");
  CHECK_EQUAL(f.clients.TakeOver(3, 77)->size(), 0u);
  auto taken = f.clients.TakeOver(3, 1);
  CHECK_EQUAL(taken->size(), 3u);
  CHECK_EQUAL(f.clients.counts().quarantined, 0u);
  CHECK(f.clients.LeaseAt(3, lease).ok());
  CHECK(f.clients.Release(3, *taken).ok());
  CHECK_EQUAL(f.Used(), 0u);
  CHECK_EQUAL(f.clients.TakeOver(3, 1)->size(), 0u);
}

// The server has not yet heard that the connection was lost.
void AConnectionThatIsTakenOverAsksForNothingMore() {
  Fixture f;
  uint64_t lease = *f.clients.Lease(1, 6 * kArenaPage);
  auto waiting = f.Ask(1, 4 * kArenaPage);
  CHECK(f.clients.Introduce(3, 100).ok());
  CHECK_EQUAL(f.clients.TakeOver(3, 1)->at(0), lease);
  CHECK_EQUAL(Answer(waiting), "another connection has taken this one's place");
  CHECK(!f.clients.Lease(1, 64).ok());
  f.clients.ConnectionEnded(1);
  CHECK(f.clients.LeaseAt(3, lease).ok());
  CHECK(f.clients.Release(3, {lease}).ok());
  CHECK_EQUAL(f.Used(), 0u);
  f.clients.ConnectionEnded(3);
  CHECK_EQUAL(f.processes.watched.count(100), 0u);
}

void ANumberThatIsUsedAgainIsAnotherProcess() {
  Fixture f;
  (void)f.clients.Lease(1, 64);
  f.clients.ConnectionEnded(1);
  f.clients.ProcessEnded(100);
  CHECK(f.clients.Introduce(3, 100).ok());
  CHECK_EQUAL(f.clients.TakeOver(3, 1)->size(), 0u);
  CHECK_EQUAL(f.Used(), 0u);
}

void WhoAsksForTooMuchWaitsInLine() {
  Fixture f;
  uint64_t first = *f.clients.Lease(1, 6 * kArenaPage);
  auto large = f.Ask(2, 4 * kArenaPage);
  auto small = f.Ask(1, 64);
  CHECK(!Ready(large));
  CHECK(!Ready(small));  // there is room, but not before the other
  CHECK(Text(f.clients.Lease(1, 64)).find("2 clients wait") != std::string::npos);
  CHECK_EQUAL(f.clients.counts().waiting, 2u);
  CHECK(f.clients.Release(1, {first}).ok());
  CHECK_EQUAL(Answer(large), "ok");
  CHECK_EQUAL(Answer(small), "ok");
  CHECK_EQUAL(f.clients.counts().leased, 4 * kArenaPage + 64);
}

void WaitingHasAnEnd() {
  Fixture f;
  (void)f.clients.Lease(1, 6 * kArenaPage);
  auto large = f.Ask(2, 4 * kArenaPage, std::chrono::milliseconds(20));
  auto small = f.Ask(2, 64);
  CHECK_EQUAL(
      Answer(large),
      "no room in the arena for 16384 bytes: 24576 of 36864 are in use, the largest free piece has 8192, "
      "2 clients wait; process 100 holds 24576");
  CHECK_EQUAL(Answer(small), "ok");  // it stood behind that one
}

void WhoLeavesLeavesTheLine() {
  Fixture f;
  (void)f.clients.Lease(1, 6 * kArenaPage);
  auto large = f.Ask(2, 4 * kArenaPage);
  auto small = f.Ask(1, 64);
  f.clients.ConnectionEnded(2);
  CHECK_EQUAL(Answer(large), "the client has gone");
  CHECK_EQUAL(Answer(small), "ok");
}

void ASaveHoldsUpWhoNeedsItsBlocks() {
  Fixture f;
  uint64_t all = *f.clients.Lease(1, 8 * kArenaPage);
  f.arena.ForkBorn();
  CHECK(f.clients.Release(1, {all}).ok());
  auto next = f.Ask(2, 8 * kArenaPage);
  CHECK(!Ready(next));
  f.arena.ForkDied();
  CHECK_EQUAL(Answer(next), "ok");
}

// Clients that come, ask, give back and go, on several threads: nothing stays, nobody is left without an
// answer.
void NothingStaysWhenAllHaveGone() {
  Fixture f;
  auto live = [&f](uint64_t number) {
    for (uint64_t i = 0; i < 300; ++i) {
      uint64_t client = number * 1000 + i;
      if (!f.clients.Introduce(client, static_cast<int64_t>(100 * number)).ok()) continue;
      auto answer = f.Ask(client, (1 + i % 5) * kArenaPage, std::chrono::milliseconds(i % 7));
      if (i % 3 == 0) f.clients.ConnectionEnded(client);
      answer.wait();
      auto offset = answer.get();
      if (offset.ok() && i % 3 == 1) (void)f.clients.Release(client, {*offset});
      f.clients.ConnectionEnded(client);
      (void)f.clients.TakeOver(number, client);
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t number : {1u, 2u}) threads.emplace_back(live, number);
  for (int i = 0; i < 100; ++i) {
    f.arena.ForkBorn();
    std::this_thread::yield();
    f.arena.ForkDied();
    for (uint64_t client : {1u, 2u}) {
      (void)f.clients.TakeOver(client, 0);
    }
  }
  for (std::thread& thread : threads) thread.join();
  for (uint64_t client : {1u, 2u}) f.clients.ConnectionEnded(client);
  for (uint64_t process : {100u, 200u}) f.clients.ProcessEnded(process);
  CHECK_EQUAL(f.Used(), 0u);
  CHECK_EQUAL(f.clients.counts().waiting, 0u);
  CHECK_EQUAL(f.clients.counts().processes, 0u);
}

}  // namespace

int main() {
  StrangersGetNothing();
  WhatIsNotOnesOwnIsRefused();
  APinKeepsWhatHasNoKeyAnyMore();
  AClientThatIsGoneLosesNothing();
  AConnectionThatHeldNothingIsForgotten();
  AnotherConnectionOfTheProcessTakesOver();
  AConnectionThatIsTakenOverAsksForNothingMore();
  ANumberThatIsUsedAgainIsAnotherProcess();
  WhoAsksForTooMuchWaitsInLine();
  WaitingHasAnEnd();
  WhoLeavesLeavesTheLine();
  ASaveHoldsUpWhoNeedsItsBlocks();
  NothingStaysWhenAllHaveGone();
  return penstock::test::Report();
}

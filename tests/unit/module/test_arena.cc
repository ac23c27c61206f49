#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "arena.h"
#include "check.h"

using namespace penstock;

namespace {

constexpr uint64_t kBytes = 64 * kArenaPage;

std::unique_ptr<Arena> NewArena() {
  auto memory = SharedMemory::Create(kBytes);
  CHECK_EQUAL(penstock::test::Text(memory), "ok");
  auto arena = std::make_unique<Arena>(std::move(*memory));
  CHECK(arena->memory().Populate(kArenaPage, kBytes).ok());
  arena->Extend(kBytes);
  return arena;
}

uint64_t Used(const Arena& arena) { return arena.counts().used; }

void OthersOfTheUserCanMapItAndNobodyCanCutIt() {
  auto arena = NewArena();
  std::string path = arena->memory().Path();
  struct stat found{};
  CHECK_EQUAL(stat(path.c_str(), &found), 0);
  CHECK_EQUAL(found.st_mode & 07777, 0600u);
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0);
  CHECK(ftruncate(fd, kArenaPage) != 0);
  CHECK(ftruncate(fd, 2 * kBytes) != 0);
  auto* seen = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  CHECK_EQUAL(std::string(seen, 40), "PENSTOCK" + arena->memory().id());
  auto block = arena->Take(100);
  std::memcpy(seen + block->offset(), "written elsewhere", 17);
  CHECK_EQUAL(block->view().substr(0, 17), "written elsewhere");
  munmap(seen, kBytes);
  close(fd);
}

void TwoArenasHaveTwoIds() { CHECK(NewArena()->memory().id() != NewArena()->memory().id()); }

void OnlyWhatIsReadyIsGivenOut() {
  auto memory = SharedMemory::Create(kBytes);
  Arena arena(std::move(*memory));
  CHECK(arena.Take(1) == nullptr);
  CHECK(arena.CouldHold(kBytes - kArenaPage));
  CHECK(!arena.CouldHold(kBytes));
  CHECK(!arena.CouldHold(UINT64_MAX));
  arena.Extend(2 * kArenaPage);
  CHECK(arena.Take(kArenaPage) != nullptr);
  arena.Limit(2 * kArenaPage);
  CHECK(arena.CouldHold(kArenaPage));
  CHECK(!arena.CouldHold(kArenaPage + 1));
}

void MemoryIsTakenAsItIsWanted() {
  constexpr uint64_t kLarge = 4 * kArenaAhead;
  Arena arena(std::move(*SharedMemory::Create(kLarge)));
  int wanted = 0;
  arena.OnWant([&wanted] { ++wanted; });
  CHECK(arena.WantsMore());
  arena.Extend(kArenaPage + kArenaAhead);
  CHECK(!arena.WantsMore());
  ArenaBlockPtr block = arena.Take(kArenaPage);
  CHECK(block != nullptr);
  CHECK(arena.WantsMore());  // there is less ahead than there should be
  CHECK_EQUAL(wanted, 1);
  arena.Extend(2 * kArenaPage + kArenaAhead);
  CHECK(!arena.WantsMore());
  CHECK(arena.Take(2 * kArenaAhead) == nullptr);  // for which it is wanted
  CHECK_EQUAL(wanted, 2);
  arena.Extend(2 * kArenaPage + 2 * kArenaAhead);
  CHECK(!arena.WantsMore());
  CHECK(arena.Take(2 * kArenaAhead) != nullptr);
  arena.Limit(2 * kArenaPage + 2 * kArenaAhead);
  CHECK(!arena.WantsMore());  // the system has none
}

void ABlockIsFreeWhenTheLastHolderDropsIt() {
  auto arena = NewArena();
  int told = 0;
  arena->OnRoom([&told] { ++told; });
  ArenaBlockPtr lease = arena->Take(1000);
  CHECK_EQUAL(lease->capacity(), 1024u);
  BufferPtr tensor = lease;
  lease.reset();
  CHECK_EQUAL(Used(*arena), 1024u);
  CHECK_EQUAL(told, 0);
  tensor.reset();
  CHECK_EQUAL(Used(*arena), 0u);
  CHECK_EQUAL(told, 1);
}

void WhatATensorDoesNotNeedIsGivenBack() {
  auto arena = NewArena();
  ArenaBlockPtr lease = arena->Take(1000);
  lease->Narrow(65);
  CHECK_EQUAL(lease->view().size(), 65u);
  CHECK_EQUAL(Used(*arena), 1024u);
  lease->Trim();
  CHECK_EQUAL(Used(*arena), 128u);
}

void WhatASaveMayReadIsNotReused() {
  auto arena = NewArena();
  ArenaBlockPtr saved = arena->Take(32 * kArenaPage);
  arena->ForkBorn();
  saved.reset();
  CHECK_EQUAL(arena->counts().deferred, 32 * kArenaPage);
  CHECK_EQUAL(Used(*arena), 32 * kArenaPage);
  CHECK(arena->Take(32 * kArenaPage) == nullptr);
  ArenaBlockPtr kept = arena->Take(1000);  // there is room for others
  int told = 0;
  arena->OnRoom([&told] { ++told; });
  arena->ForkDied();
  CHECK_EQUAL(told, 1);
  CHECK_EQUAL(arena->counts().deferred, 0u);
  CHECK_EQUAL(Used(*arena), 1024u);
  CHECK(arena->Take(32 * kArenaPage) != nullptr);
}

// No two holders ever have the same bytes.
void ManyThreadsTakeAndDrop() {
  auto arena = NewArena();
  std::atomic<bool> mixed = false;
  auto work = [&](char mark) {
    for (int i = 0; i < 2000; ++i) {
      auto block = arena->Take(static_cast<uint64_t>(1 + i * 37 % 9000));
      if (block == nullptr) continue;
      char* bytes = arena->memory().base() + block->offset();
      std::memset(bytes, mark, block->capacity());
      std::this_thread::yield();
      for (uint64_t at = 0; at < block->capacity(); ++at) mixed = mixed || bytes[at] != mark;
    }
  };
  std::vector<std::thread> threads;
  for (char mark : {'a', 'b', 'c'}) threads.emplace_back(work, mark);
  for (int i = 0; i < 200; ++i) {
    arena->ForkBorn();
    std::this_thread::yield();
    arena->ForkDied();
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(!mixed);
  CHECK_EQUAL(Used(*arena), 0u);
}

}  // namespace

int main() {
  OthersOfTheUserCanMapItAndNobodyCanCutIt();
  TwoArenasHaveTwoIds();
  OnlyWhatIsReadyIsGivenOut();
  MemoryIsTakenAsItIsWanted();
  ABlockIsFreeWhenTheLastHolderDropsIt();
  WhatATensorDoesNotNeedIsGivenBack();
  WhatASaveMayReadIsNotReused();
  ManyThreadsTakeAndDrop();
  return penstock::test::Report();
}

#include "arena_service.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "machine_memory.h"
#include "options.h"

namespace penstock {
namespace {

constexpr uint64_t kPiece = 16 << 20;  // taken from the system at a time; the server leaves between two

ArenaService* service = nullptr;

// Takes memory from the system until none is wanted.
class Populate : public Task {
 public:
  void Run() override {
    do {
      while (service->arena.WantsMore() && !service->stopping) TakePiece();
      service->populates = false;
    } while (service->arena.WantsMore() && !service->stopping && !service->populates.exchange(true));
  }
  void Deliver(std::unique_ptr<Task>) override {}

 private:
  static void TakePiece() {
    SharedMemory& memory = service->arena.memory();
    uint64_t start = service->arena.counts().ready;
    uint64_t end = std::min(memory.bytes(), (start / kPiece + 1) * kPiece);
    Status status = memory.Populate(start, end);
    if (!status.ok()) return End(start, status);
    service->arena.Extend(end);
  }
  static void End(uint64_t start, const Status& status) {
    service->arena.Limit(start);
    redis::Log(nullptr, "warning", "%s; it stays at %llu of %llu bytes", status.text().c_str(),
               static_cast<unsigned long long>(start),
               static_cast<unsigned long long>(service->arena.memory().bytes()));
  }
};

void StartToPopulate() {
  if (!service->populates.exchange(true)) service->populating.Push(std::make_unique<Populate>());
}

void OnForkChild(RedisModuleCtx*, redis::Event, uint64_t what, void*) {
  if (what == redis::kForkChildBorn) {
    service->arena.ForkBorn();
  } else {
    service->arena.ForkDied();
  }
}

uint64_t PhysicalMemory() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// Half of what the server may use, which its control group may say.
int64_t AutoMegabytes() { return MachineBytes() / 2 >> 20; }

Status Subscribe(RedisModuleCtx* context) {
  bool heard = redis::SubscribeToServerEvent(context, redis::kForkChildEvent, OnForkChild) == redis::kOk;
  return heard ? Status::Ok() : Status::Error("ARENA: the server refused to tell of children");
}

Status StartSized(RedisModuleCtx* context, int64_t megabytes) {
  if (static_cast<uint64_t>(megabytes) > PhysicalMemory() >> 20) {
    return Status::Error("ARENA: " + std::to_string(megabytes) + " MB are more than this host's memory of " +
                         std::to_string(PhysicalMemory() >> 20));
  }
  auto processes = ProcessWatch::Start([](uint64_t serial) { service->clients.ProcessEnded(serial); });
  if (!processes.ok()) return processes.status();
  auto memory = SharedMemory::Create(static_cast<uint64_t>(megabytes) << 20);
  if (!memory.ok()) return memory.status();
  service = new ArenaService(std::move(*memory), std::move(*processes));
  Status heard = Subscribe(context);
  if (!heard.ok()) return heard;
  service->arena.OnWant(StartToPopulate);
  StartToPopulate();
  return heard;
}

}  // namespace

ArenaService::ArenaService(std::unique_ptr<SharedMemory> memory, std::unique_ptr<ProcessWatch> watched)
    : arena(std::move(memory)),
      processes(std::move(watched)),
      clients(&arena, processes.get(), &deadlines),
      populating("ai-arena", 1) {
  arena.OnRoom([this] { clients.Serve(); });
}

ArenaService* arena_service() { return service; }

Status StartArena(RedisModuleCtx* context, int64_t megabytes) {
  if (megabytes == 0) return Status::Ok();
  if (megabytes != kArenaAuto) return StartSized(context, megabytes);
  Status status = StartSized(context, AutoMegabytes());
  if (!status.ok()) redis::Log(context, "notice", "no shared memory: %s", status.text().c_str());
  return Status::Ok();
}

bool StopArena(Clock::time_point deadline) {
  if (service == nullptr) return true;
  service->stopping = true;
  service->populating.Stop();
  service->processes->Stop();
  service->deadlines.Stop();
  bool populated = service->populating.Join(deadline);
  bool told = service->processes->Join(deadline);
  return service->deadlines.Join(deadline) && populated && told;
}

}  // namespace penstock

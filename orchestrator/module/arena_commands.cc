// PENSTOCK.ARENA, PENSTOCK.LEASE, PENSTOCK.PUT, PENSTOCK.MAP, PENSTOCK.RELEASE: tensors in shared memory.
//
// DESIGN
//   A client says which process it is, leases a block, writes a tensor there, and puts the block into a key:
//   from then on it is a tensor like any other. Followers and the append-only file get an AI.TENSORSET with
//   its bytes, which are copied for them only where there are any. A client that has to wait for a block is
//   blocked, not the server; who serves it delivers the answer from any thread.
#include "arena_service.h"
#include "arena_words.h"
#include "blocked.h"
#include "commands.h"
#include "followers.h"
#include "module_state.h"
#include "reply.h"
#include "tensor_type.h"

namespace penstock {
namespace {

Status Usable(RedisModuleCtx* context) {
  if (arena_service() == nullptr)
    return Status::Error("this server has no arena: the load argument ARENA gives it one");
  return IsInScript(context) ? RefuseInScript() : Status::Ok();
}

// One client that waits for a block.
class WaitingLease : public Blocked {
 public:
  using Blocked::Blocked;
  void Take(Result<uint64_t> offset) { offset_ = std::move(offset); }

 protected:
  void Finish() override {}
  int Answer(RedisModuleCtx* context) override {
    if (!offset_.ok()) return Reply(context, offset_.status());
    return redis::ReplyWithLongLong(context, static_cast<long long>(*offset_));
  }
  void OnGone() override {}  // the end of its connection takes it out of the line

 private:
  Result<uint64_t> offset_ = Status::Error("there was no answer");
};

int LeaseLater(RedisModuleCtx* context, const LeaseWords& words) {
  if (!MayBlock(context)) return Reply(context, RefuseToBlock());
  uint64_t client = redis::GetClientId(context);
  auto waiting = std::make_shared<std::unique_ptr<WaitingLease>>(std::make_unique<WaitingLease>(context));
  auto deadline = DeadlineIn(*words.timeout);
  arena_service()->clients.LeaseInTime(client, words.bytes, deadline.value_or(Clock::time_point::max()),
                                       [waiting](Result<uint64_t> offset) {
                                         (*waiting)->Take(std::move(offset));
                                         Blocked::Deliver(std::move(*waiting));
                                       });
  return redis::kOk;
}

// The lease at that offset as a tensor. It stays a lease until its key has it.
Result<TensorPtr> TensorIn(const ArenaBlockPtr& block, const ArenaPutWords& words) {
  if (block->capacity() < words.bytes) {
    return Status::Error("the lease at offset " + std::to_string(words.offset) + " has " +
                         std::to_string(block->capacity()) + " bytes, the tensor " +
                         std::to_string(words.bytes));
  }
  block->Narrow(words.bytes);
  return Tensor::Make(words.type, words.dims, block);
}

// The bytes of a large tensor are copied only when somebody gets them. In a transaction it is not known yet
// who will.
void ReplicatePut(RedisModuleCtx* context, RedisModuleString* key, const Tensor& tensor) {
  constexpr size_t kSmall = 1 << 16;  // a copy takes less time than to ask
  bool later = (redis::GetContextFlags(context) & redis::kMulti) != 0;
  if (tensor.bytes().size() <= kSmall || later || SomebodyFollows(context)) {
    ReplicateTensor(context, key, tensor);
  } else {
    redis::ReplicateVerbatim(context);  // to nobody: it counts as a change for the next save
  }
}

Status Put(RedisModuleCtx* context, RedisModuleString* key, const ArenaPutWords& words) {
  ArenaClients& clients = arena_service()->clients;
  uint64_t client = redis::GetClientId(context);
  auto block = clients.LeaseAt(client, words.offset);
  if (!block.ok()) return block.status();
  auto tensor = TensorIn(*block, words);
  if (!tensor.ok()) return tensor.status();
  Status status = SetTensor(context, key, *tensor);
  if (!status.ok()) return status;
  if (words.keep) {
    status = clients.Pin(client, words.offset, words.bytes, *tensor);
    if (!status.ok()) return status;
  }
  clients.EndLease(client, words.offset);
  (*block)->Trim();
  ReplicatePut(context, key, **tensor);
  return status;
}

int ReplyOffsets(RedisModuleCtx* context, const std::vector<uint64_t>& offsets) {
  redis::ReplyWithArray(context, static_cast<long>(offsets.size()));
  for (uint64_t offset : offsets) redis::ReplyWithLongLong(context, static_cast<long long>(offset));
  return redis::kOk;
}

// The last entry is the size, or the bytes themselves if there is nothing to map and they are wanted.
int ReplyMapped(RedisModuleCtx* context, const Tensor& tensor, const ArenaBlock* block, bool blob) {
  redis::ReplyWithArray(context, 4);
  ReplyText(context, DataTypeName(tensor.type()));
  redis::ReplyWithArray(context, static_cast<long>(tensor.dims().size()));
  for (int64_t dim : tensor.dims()) redis::ReplyWithLongLong(context, dim);
  if (block == nullptr) {
    redis::ReplyWithNull(context);
    if (blob) return ReplyText(context, tensor.bytes());
  } else {
    redis::ReplyWithLongLong(context, static_cast<long long>(block->offset()));
  }
  return redis::ReplyWithLongLong(context, static_cast<long long>(tensor.bytes().size()));
}

}  // namespace

int ArenaIntroduce(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 3) return WrongArity(context, argv[0]);
  auto words = ParseIntroduction(Words(argv, argc));
  if (!words.ok()) return Reply(context, words.status());
  if (Status usable = Usable(context); !usable.ok()) return Reply(context, usable);
  ArenaService* service = arena_service();
  uint64_t client = redis::GetClientId(context);
  Status status = service->clients.Introduce(client, words->pid);
  if (!status.ok()) return Reply(context, status);
  Result<std::vector<uint64_t>> taken(std::vector<uint64_t>{});
  // Of another arena, its connection was another server's, whose numbers mean others here.
  bool ours = words->arena == service->arena.memory().id();
  if (words->former && ours) taken = service->clients.TakeOver(client, *words->former);
  if (!taken.ok()) return Reply(context, taken.status());
  const SharedMemory& memory = service->arena.memory();
  redis::ReplyWithArray(context, 5);
  ReplyText(context, memory.Path());
  redis::ReplyWithLongLong(context, static_cast<long long>(memory.bytes()));
  ReplyText(context, memory.id());
  redis::ReplyWithLongLong(context, static_cast<long long>(client));
  return ReplyOffsets(context, *taken);
}

int ArenaLease(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 2) return WrongArity(context, argv[0]);
  auto words = ParseLease(Words(argv, argc));
  if (!words.ok()) return Reply(context, words.status());
  if (Status usable = Usable(context); !usable.ok()) return Reply(context, usable);
  auto offset = arena_service()->clients.Lease(redis::GetClientId(context), words->bytes);
  if (offset.ok()) return redis::ReplyWithLongLong(context, static_cast<long long>(*offset));
  return words->timeout ? LeaseLater(context, *words) : Reply(context, offset.status());
}

int ArenaPut(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 5) return WrongArity(context, argv[0]);
  auto words = ParseArenaPut(Words(argv, argc));
  if (!words.ok()) return Reply(context, words.status());
  if (Status usable = Usable(context); !usable.ok()) return Reply(context, usable);
  Status status = Put(context, argv[1], *words);
  if (!status.ok() || !words->lease) return Reply(context, status);
  auto next = arena_service()->clients.Lease(redis::GetClientId(context), *words->lease);
  if (!next.ok()) return redis::ReplyWithNull(context);  // the put is done; PENSTOCK.LEASE says why and waits
  return redis::ReplyWithLongLong(context, static_cast<long long>(*next));
}

int ArenaMap(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 2) return WrongArity(context, argv[0]);
  auto blob = ParseMap(Words(argv, argc));
  if (!blob.ok()) return Reply(context, blob.status());
  if (Status usable = Usable(context); !usable.ok()) return Reply(context, usable);
  auto tensor = GetTensor(context, argv[1]);
  if (!tensor.ok()) return Reply(context, tensor.status());
  auto* block = dynamic_cast<const ArenaBlock*>(&(*tensor)->buffer());
  if (block != nullptr) {
    Status status = arena_service()->clients.Pin(redis::GetClientId(context), block->offset(),
                                                 (*tensor)->bytes().size(), *tensor);
    if (!status.ok()) return Reply(context, status);
  }
  return ReplyMapped(context, **tensor, block, *blob);
}

int ArenaRelease(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 2) return WrongArity(context, argv[0]);
  auto offsets = ParseRelease(Words(argv, argc));
  if (!offsets.ok()) return Reply(context, offsets.status());
  if (Status usable = Usable(context); !usable.ok()) return Reply(context, usable);
  return Reply(context, arena_service()->clients.Release(redis::GetClientId(context), *offsets));
}

}  // namespace penstock

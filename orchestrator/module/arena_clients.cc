#include "arena_clients.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace penstock {
namespace {

constexpr char kFull[] = "ARENAFULL";

Status Stranger() {
  return Status::Error("this connection has not said which process it belongs to: PENSTOCK.ARENA PID first");
}

Status NotHeld(uint64_t offset) {
  return Status::Error("this connection holds no block at offset " + std::to_string(offset));
}

}  // namespace

ArenaClients::ArenaClients(Arena* arena, Processes* processes, Watch* watch)
    : arena_(arena), processes_(processes), watch_(watch) {}

ArenaClients::Connection* ArenaClients::Find(uint64_t client) {
  auto found = connections_.find(client);
  return found == connections_.end() || found->second.ended ? nullptr : &found->second;
}

// Its serial number, if it is known and has not ended; else 0.
uint64_t ArenaClients::ProcessOf(int64_t pid) {
  for (auto& [serial, process] : known_) {
    if (process.pid == pid && !process.ended && !processes_->HasEnded(serial)) return serial;
  }
  return 0;
}

Status ArenaClients::Introduce(uint64_t client, int64_t pid) {
  std::lock_guard lock(mutex_);
  if (const Connection* known = Find(client)) {
    int64_t before = known_.at(known->process).pid;
    if (before == pid) return Status::Ok();
    return Status::Error("this connection belongs to process " + std::to_string(before));
  }
  uint64_t serial = ProcessOf(pid);
  if (serial == 0) {
    auto watched = processes_->Watch(pid);
    if (!watched.ok()) return watched.status();
    serial = *watched;
    known_.emplace(serial, Process{pid});
  }
  connections_.emplace(client, Connection{serial, false, {}, {}});
  return Status::Ok();
}

// With the lock.
ArenaClients::Line ArenaClients::TakeFromLine(uint64_t client) {
  Line gone;
  for (auto next = line_.begin(); next != line_.end();) {
    auto one = next++;
    if (one->client == client) gone.splice(gone.end(), line_, one);
  }
  return gone;
}

// Without the lock.
void ArenaClients::Dismiss(Line gone, const char* why) {
  for (Waiting& waiting : gone) {
    watch_->Forget(waiting.deadline);
    waiting.answer(Status::Error(why));
  }
  Serve();  // others may have stood behind them
}

Result<std::vector<uint64_t>> ArenaClients::TakeOver(uint64_t client, uint64_t former) {
  std::vector<uint64_t> offsets;
  std::unique_lock lock(mutex_);
  Connection* heir = Find(client);
  if (heir == nullptr) return Stranger();
  auto found = connections_.find(former);
  if (found == connections_.end() || former == client) return offsets;
  if (found->second.process != heir->process) {
    return Status::Error("connection " + std::to_string(former) + " belongs to another process");
  }
  Connection left = std::move(found->second);  // nothing in it is dropped: the heir has hold of all of it
  connections_.erase(found);
  for (auto& [offset, block] : left.leases) offsets.push_back(offset);
  for (auto& [offset, pins] : left.pins) offsets.insert(offsets.end(), pins.count, offset);
  heir->leases.merge(left.leases);
  for (auto& [offset, pins] : left.pins) {
    auto [mine, fresh] = heir->pins.emplace(offset, pins);
    if (!fresh) mine->second.count += pins.count;
  }
  Line gone = TakeFromLine(former);
  lock.unlock();
  Dismiss(std::move(gone), "another connection has taken this one's place");
  return offsets;
}

Status ArenaClients::CheckSize(uint64_t bytes) const {
  if (arena_->CouldHold(bytes)) return Status::Ok();
  return Status::Error("a block of " + std::to_string(bytes) + " bytes does not fit into the arena of " +
                       std::to_string(arena_->counts().size));
}

Result<uint64_t> ArenaClients::Lease(uint64_t client, uint64_t bytes) {
  Status fits = CheckSize(bytes);
  if (!fits.ok()) return fits;
  std::lock_guard lock(mutex_);
  Connection* connection = Find(client);
  if (connection == nullptr) return Stranger();
  ArenaBlockPtr block = line_.empty() ? arena_->Take(bytes) : nullptr;
  if (block == nullptr) return Full(bytes);
  uint64_t offset = block->offset();
  connection->leases.emplace(offset, std::move(block));
  return offset;
}

void ArenaClients::LeaseInTime(uint64_t client, uint64_t bytes, Clock::time_point deadline, Answer answer) {
  Status fits = CheckSize(bytes);
  if (!fits.ok()) return answer(fits);
  {
    std::unique_lock lock(mutex_);
    if (Find(client) == nullptr) {
      lock.unlock();
      return answer(Stranger());
    }
    uint64_t number = ++last_number_;
    auto due = watch_->At(deadline, [this, number] { Expire(number); });
    line_.push_back({number, client, bytes, std::move(answer), due});
  }
  Serve();
}

void ArenaClients::Serve() {
  std::vector<std::pair<Answer, Result<uint64_t>>> served;
  {
    std::lock_guard lock(mutex_);
    while (!line_.empty()) {
      Waiting& first = line_.front();
      Connection* connection = Find(first.client);
      ArenaBlockPtr block = connection != nullptr ? arena_->Take(first.bytes) : nullptr;
      if (connection != nullptr && block == nullptr) break;
      Result<uint64_t> result = connection != nullptr ? Result<uint64_t>(block->offset()) : Stranger();
      if (connection != nullptr) connection->leases.emplace(*result, std::move(block));
      watch_->Forget(first.deadline);
      served.emplace_back(std::move(first.answer), std::move(result));
      line_.pop_front();
    }
  }
  for (auto& [answer, result] : served) answer(std::move(result));
}

// Those behind the one whose time is over may ask for less.
void ArenaClients::Expire(uint64_t number) {
  Line expired;
  Status full = Status::Ok();
  {
    std::lock_guard lock(mutex_);
    auto found =
        std::find_if(line_.begin(), line_.end(), [&](const Waiting& w) { return w.number == number; });
    if (found == line_.end()) return;
    full = Full(found->bytes);
    expired.splice(expired.end(), line_, found);
  }
  expired.front().answer(full);
  Serve();
}

Result<ArenaBlockPtr> ArenaClients::LeaseAt(uint64_t client, uint64_t offset) {
  std::lock_guard lock(mutex_);
  Connection* connection = Find(client);
  if (connection == nullptr) return Stranger();
  auto found = connection->leases.find(offset);
  if (found != connection->leases.end()) return found->second;
  return Status::Error("this connection has no lease at offset " + std::to_string(offset));
}

void ArenaClients::EndLease(uint64_t client, uint64_t offset) {
  std::map<uint64_t, ArenaBlockPtr>::node_type dropped;
  std::lock_guard lock(mutex_);
  if (Connection* connection = Find(client)) dropped = connection->leases.extract(offset);
}

Status ArenaClients::Pin(uint64_t client, uint64_t offset, uint64_t bytes,
                         std::shared_ptr<const void> holder) {
  std::lock_guard lock(mutex_);
  Connection* connection = Find(client);
  if (connection == nullptr) return Stranger();
  auto [pins, fresh] = connection->pins.emplace(offset, Pins{std::move(holder), bytes, 1});
  if (!fresh) pins->second.count += 1;
  return Status::Ok();
}

Status ArenaClients::CheckReleases(const Connection& connection, const std::vector<uint64_t>& offsets) const {
  std::map<uint64_t, uint64_t> wanted;
  for (uint64_t offset : offsets) {
    auto pins = connection.pins.find(offset);
    uint64_t held =
        connection.leases.count(offset) + (pins == connection.pins.end() ? 0 : pins->second.count);
    if (++wanted[offset] > held) return NotHeld(offset);
  }
  return Status::Ok();
}

Status ArenaClients::Release(uint64_t client, const std::vector<uint64_t>& offsets) {
  std::vector<std::shared_ptr<const void>> dropped;  // destroyed after the lock
  std::lock_guard lock(mutex_);
  Connection* connection = Find(client);
  if (connection == nullptr) return Stranger();
  Status held = CheckReleases(*connection, offsets);
  if (!held.ok()) return held;
  for (uint64_t offset : offsets) {
    if (auto lease = connection->leases.extract(offset)) {
      dropped.push_back(std::move(lease.mapped()));
      continue;
    }
    auto pins = connection->pins.find(offset);
    if (--pins->second.count > 0) continue;
    dropped.push_back(std::move(pins->second.holder));
    connection->pins.erase(pins);
  }
  return Status::Ok();
}

// A process without connections is of no interest.
void ArenaClients::ForgetUnused(uint64_t process) {
  bool used = std::any_of(connections_.begin(), connections_.end(),
                          [&](const auto& entry) { return entry.second.process == process; });
  if (used) return;
  known_.erase(process);
  processes_->Forget(process);
}

void ArenaClients::ConnectionEnded(uint64_t client) {
  std::map<uint64_t, Connection>::node_type dropped;  // destroyed after the lock, like the others
  Line gone;
  {
    std::lock_guard lock(mutex_);
    auto found = connections_.find(client);
    if (found == connections_.end()) return;
    gone = TakeFromLine(client);
    found->second.ended = true;
    uint64_t process = found->second.process;
    if (!found->second.holds() || known_.at(process).ended) dropped = connections_.extract(found);
    ForgetUnused(process);
  }
  Dismiss(std::move(gone), "the client has gone");
}

void ArenaClients::ProcessEnded(uint64_t process) {
  std::vector<std::map<uint64_t, Connection>::node_type> dropped;
  std::lock_guard lock(mutex_);
  auto known = known_.find(process);
  if (known == known_.end()) return;
  known->second.ended = true;
  for (auto next = connections_.begin(); next != connections_.end();) {
    auto one = next++;
    if (one->second.process == process && one->second.ended) dropped.push_back(connections_.extract(one));
  }
  ForgetUnused(process);
}

std::string ArenaClients::Holders() const {
  std::map<int64_t, uint64_t> by_pid;
  for (const auto& [client, connection] : connections_) {
    uint64_t& bytes = by_pid[known_.at(connection.process).pid];
    for (const auto& [offset, block] : connection.leases) bytes += block->capacity();
    for (const auto& [offset, pins] : connection.pins) bytes += pins.bytes;
  }
  std::string text;
  for (const auto& [pid, bytes] : by_pid) {
    if (bytes == 0) continue;
    text += (text.empty() ? "; process " : ", process ") + std::to_string(pid) + " holds " +
            std::to_string(bytes);
  }
  return text;
}

Status ArenaClients::Full(uint64_t bytes) const {
  Arena::Counts now = arena_->counts();
  std::string text = "no room in the arena for " + std::to_string(bytes) +
                     " bytes: " + std::to_string(now.used) + " of " + std::to_string(now.size) +
                     " are in use, the largest free piece has " + std::to_string(now.largest_free);
  if (now.deferred > 0) text += ", a save still reads " + std::to_string(now.deferred);
  if (now.ready < now.size) text += ", " + std::to_string(now.ready) + " are taken from the system so far";
  if (!line_.empty()) text += ", " + std::to_string(line_.size()) + " clients wait";
  return Status::Coded(kFull, text + Holders());
}

ArenaClients::Counts ArenaClients::counts() const {
  std::lock_guard lock(mutex_);
  Counts counts;
  for (const auto& [client, connection] : connections_) {
    for (const auto& [offset, block] : connection.leases) {
      (connection.ended ? counts.quarantined : counts.leased) += block->capacity();
    }
    for (const auto& [offset, pins] : connection.pins) {
      (connection.ended ? counts.quarantined : counts.pinned) += pins.bytes;
    }
  }
  counts.waiting = line_.size();
  counts.processes = known_.size();
  return counts;
}

}  // namespace penstock

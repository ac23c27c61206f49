// Who holds blocks of the arena that are no tensors yet, or maps some that are.
//
// DESIGN
//   A client is a connection that has said which process it belongs to. It holds leases, blocks that it may
//   write, and pins, tensors that it has mapped and that therefore stay where they are although their keys
//   may go. When the connection ends its process may still write to a lease or read what is pinned: all of it
//   stays, in quarantine, until the process has ended too, or takes it over with a new connection. What no
//   process can touch any more is free at once; so a client that is killed loses nothing, and none of its
//   leases is ever seen. Who asks for more than there is waits in line, first come, first served, until its
//   time is over. Threads: any; the mutex guards all. Blocks are dropped, and answers given, without it: both
//   call back.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "arena.h"
#include "process_watch.h"
#include "watch.h"

namespace penstock {

class ArenaClients {
 public:
  using Answer = std::function<void(Result<uint64_t> offset)>;
  struct Counts {
    uint64_t leased = 0;       // bytes of leases
    uint64_t pinned = 0;       // bytes of pins; a tensor counts once for each client that maps it
    uint64_t quarantined = 0;  // bytes of both whose connection has ended
    uint64_t waiting = 0;      // clients
    uint64_t processes = 0;
  };

  /// `watch` has the deadlines of those who wait.
  ArenaClients(Arena* arena, Processes* processes, Watch* watch);

  /// The client belongs to process `pid`. Saying it again is allowed, another pid is not.
  Status Introduce(uint64_t client, int64_t pid);
  /// All that the process's connection `former` holds is the client's now; returns the offsets. If it has not
  /// ended, it is a stranger from now on: what it still asks for, nobody would give back.
  Result<std::vector<uint64_t>> TakeOver(uint64_t client, uint64_t former);
  /// A block for writing. An ARENAFULL error when there is none now, or others wait for theirs.
  Result<uint64_t> Lease(uint64_t client, uint64_t bytes);
  /// `answer` is called once: now or later, on any thread, with the offset; with ARENAFULL at the deadline;
  /// with another error when the client is unknown or ends.
  void LeaseInTime(uint64_t client, uint64_t bytes, Clock::time_point deadline, Answer answer);
  /// The client's own lease.
  Result<ArenaBlockPtr> LeaseAt(uint64_t client, uint64_t offset);
  /// The client's lease is no lease any more: it is a tensor's.
  void EndLease(uint64_t client, uint64_t offset);
  /// `holder` stays until the client gives the pin back. A block may be pinned several times.
  Status Pin(uint64_t client, uint64_t offset, uint64_t bytes, std::shared_ptr<const void> holder);
  /// Leases and pins of the client, all or none.
  Status Release(uint64_t client, const std::vector<uint64_t>& offsets);

  void ConnectionEnded(uint64_t client);
  void ProcessEnded(uint64_t process);
  /// There may be room now.
  void Serve();
  Counts counts() const;

 private:
  struct Pins {
    std::shared_ptr<const void> holder;
    uint64_t bytes;
    uint64_t count;
  };
  struct Connection {
    uint64_t process;
    bool ended = false;
    std::map<uint64_t, ArenaBlockPtr> leases;  // by offset
    std::map<uint64_t, Pins> pins;             // by offset
    bool holds() const { return !leases.empty() || !pins.empty(); }
  };
  struct Process {
    int64_t pid;
    bool ended = false;
  };
  struct Waiting {
    uint64_t number;
    uint64_t client;
    uint64_t bytes;
    Answer answer;
    Watch::Handle deadline;
  };
  using Line = std::list<Waiting>;

  Connection* Find(uint64_t client);
  Status CheckSize(uint64_t bytes) const;
  Status CheckReleases(const Connection& connection, const std::vector<uint64_t>& offsets) const;
  Status Full(uint64_t bytes) const;
  std::string Holders() const;
  uint64_t ProcessOf(int64_t pid);
  void ForgetUnused(uint64_t process);
  Line TakeFromLine(uint64_t client);
  void Dismiss(Line gone, const char* why);
  void Expire(uint64_t number);

  Arena* const arena_;
  Processes* const processes_;
  Watch* const watch_;
  mutable std::mutex mutex_;
  std::map<uint64_t, Connection> connections_;  // guarded by mutex_, like all that follows
  std::map<uint64_t, Process> known_;           // by serial number
  Line line_;
  uint64_t last_number_ = 0;
};

}  // namespace penstock

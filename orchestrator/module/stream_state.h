// What the database keeps of one stream: the list of announced names, which plain clients write and read, and
// beside it, in the same slot,
//   {S}.meter      a hash: the bound and the fill, see Meter
//   {S}.sizes      a list: bytes of each position from `freed_from` on, or why it holds none
//   {S}.consumers  a hash: up to where each has acknowledged
//   {S}.steps      a hash: the greatest step of each series of snapshots
//   {S}.contract   a text of the clients': what its snapshots look like
//
// DESIGN
//   All are ordinary keys, written by the server's own commands, so that saving, replicating and reading them
//   needs nothing of ours. Positions that plain clients have appended have no size: they are counted at the
//   next command of ours, as 0 bytes. A list that is shorter than what was counted was deleted, or has come
//   back as it was before: counting begins anew with what it holds. Main thread only, and for one command.
#pragma once

#include "commands_within.h"
#include "flow.h"

namespace penstock {

class StreamState {
 public:
  /// Reads the meter, and how much of the list is not counted yet. `standard` holds where nobody set a bound.
  static Result<StreamState> Read(RedisModuleCtx* context, std::string_view name, const Bound& standard);

  Meter meter;

  const std::string& name() const { return name_; }
  int64_t announced() const { return announced_; }
  Consumers consumers();
  /// Lets positions go that every consumer has acknowledged.
  void KeepUnacknowledged();
  /// Gives the oldest up until there is room for a snapshot beside what is promised.
  void DropOldest(const Load& promised, int64_t bytes);
  /// Positions that are to be removed: names from `freed_from` up to `upto`, which is 0 where there is
  /// nothing to do. Stops before a name that somebody is about to store again.
  struct Removal {
    int64_t upto = 0;
    std::vector<std::string> entries;
  };
  Removal NextRemoval(const Promises& promises);
  bool HasRemovals() const { return meter.freed_from < meter.kept_from; }
  /// The data before `upto` is gone.
  void Freed(int64_t upto);
  /// Appends a name and counts its bytes, or kSpilled. Sets `repeated` where an earlier position had it.
  Status Announce(std::string_view entry, int64_t size, bool* repeated);
  /// The mark of the stream's contract, none where it has none.
  Result<std::optional<int64_t>> ContractMark() const;
  /// Remembers the step of a snapshot. False where its series had that step or a later one before.
  Result<bool> NoteStep(std::string_view entry);
  void SetConsumer(const std::string& consumer, int64_t position);
  void RemoveConsumer(const std::string& consumer);
  /// Writes what has changed. Nothing that was read or set before is lost where this fails.
  Status Write();

 private:
  StreamState(RedisModuleCtx* context, std::string_view name) : context_(context), name_(name) {}
  std::string Key(const char* suffix) const { return "{" + name_ + "}." + suffix; }
  Status ReadMeter(const Bound& standard);
  void CountUncounted();
  Status WriteUncounted();
  std::vector<int64_t> Sizes(int64_t from, int64_t count);
  Status ReplaceEarlier(std::string_view entry, bool* repeated);

  RedisModuleCtx* context_;
  std::string name_;
  std::vector<std::optional<std::string>> read_;  // the meter's fields as they stand in the database
  int64_t announced_ = 0;
  int64_t sized_ = 0;      // positions with a size
  int64_t uncounted_ = 0;  // positions without
  bool anew_ = false;      // the sizes are of another list
};

}  // namespace penstock

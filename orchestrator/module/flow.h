// How much of a stream of snapshots is kept, and what happens to a snapshot that finds no room. Knows no
// Redis.
//
// DESIGN
//   A stream is a list of names that only grows: positions never move. What a bound takes away is the data
//   of the oldest positions. Two positions say how far that has come: data before `kept_from` counts no more,
//   data before `freed_from` has been removed. What lies between is being removed by some client, for in a
//   cluster only clients reach every shard; it goes on to count in `items` and `bytes` until that client has
//   said so, and any other client is told the same positions, so that nothing is left over when one dies.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.h"
#include "status.h"

namespace penstock {

/// What happens to a snapshot that finds no room.
enum class Policy : uint8_t { kBlock, kDropOldest, kDropNewest, kThin, kSpill };
/// As on the wire, in lower case.
const char* PolicyName(Policy policy);
std::optional<Policy> ParsePolicy(std::string_view name);

struct Bound {
  int64_t items = 0;  // 0: any number
  int64_t bytes = 0;  // likewise
  Policy policy = Policy::kBlock;
  int64_t keep_every = 0;  // of kThin: of so many that find no room one waits
  std::string directory;   // of kSpill
  int64_t wait_ms = 0;     // that a producer waits for room at most; 0: as long as it says itself
  bool operator==(const Bound&) const = default;
};

/// For example "64 items, 2.0 GB, drop_oldest".
std::string Describe(const Bound& bound);
/// For example "1.5 MB".
std::string DescribeBytes(int64_t bytes);
/// The words behind the stream's name, up to the end.
Result<Bound> ParseBound(Arguments* words);

/// The next word as the bytes of a snapshot.
Result<int64_t> ParseBytes(Arguments* words);
/// `[TIMEOUT ms]`, up to the end; 0 where there is none.
Result<int64_t> ParseTimeout(Arguments* words);

/// Snapshots, and the bytes of their tensors.
struct Load {
  int64_t items = 0;
  int64_t bytes = 0;
};

bool HasRoom(const Bound& bound, const Load& load, int64_t bytes);
/// Whether a snapshot may be promised its place before anybody asks.
bool IsFarFromFull(const Bound& bound, const Load& load, int64_t bytes);

/// What stands in the list of sizes in place of bytes.
inline constexpr int64_t kReplaced = -1;  // a later position has the same name, and so the data
inline constexpr int64_t kSpilled = -2;   // the data is in files
/// What these positions hold in memory.
Load LoadOf(std::span<const int64_t> sizes);
/// How many of the oldest positions to give up for a snapshot of so many bytes; all of them at most.
int64_t CountToDrop(const Bound& bound, Load load, std::span<const int64_t> sizes, int64_t bytes);

/// Who makes the snapshots `{<series>.<step>}`, and when; none where the name has another form.
struct SeriesStep {
  std::string series;  // without braces
  int64_t step;
};
std::optional<SeriesStep> ParseEntry(std::string_view entry);

/// By which a client tells which contract it keeps: 50 bits of the FNV-1a hash of its text.
int64_t MarkOf(std::string_view contract);

/// What is kept of a stream beside its list: the fields of its meter.
struct Meter {
  Bound bound;
  std::string id;     // of the stream in this database, in the paths of what is spilled; "" where nothing is
  int64_t given = 0;  // 1: somebody has set the bound
  int64_t items = 0;
  int64_t bytes = 0;
  int64_t kept_from = 0;
  int64_t freed_from = 0;
  int64_t dropped = 0;  // given up by drop_oldest
  int64_t skipped = 0;  // never stored
  int64_t spilled = 0;
  int64_t waiting = 0;  // producers
  int64_t left = 0;     // consumers that have unsubscribed
  Load load() const { return {items, bytes}; }
};

/// Names and values of a meter, as they stand in the database, in this order.
const std::vector<std::string>& MeterFields();
std::vector<std::string> MeterTexts(const Meter& meter);
/// A text is none where the database has no such field.
Meter ParseMeter(std::span<const std::optional<std::string>> texts);

/// Where the snapshots of a stream are spilled to: two databases with the same directory do not share files.
std::string SpillDirectory(const Meter& meter);

using Consumers = std::map<std::string, int64_t>;
/// Up to where every consumer has acknowledged.
int64_t AcknowledgedBy(const Consumers& consumers, const Meter& meter, int64_t announced);

/// Room that was promised to clients and is not used yet, of one stream or of the memory.
class Promises {
 public:
  /// In place of what the client was promised before. `entry` is what it will announce, "" where not known.
  void Make(uint64_t client, int64_t bytes, std::string entry = "");
  /// False when there was none.
  bool End(uint64_t client);
  bool Has(uint64_t client) const { return of_.count(client) > 0; }
  bool empty() const { return of_.empty(); }
  bool IsPromised(const std::string& entry) const { return entries_.count(entry) > 0; }
  const Load& load() const { return load_; }
  /// Without that of one client.
  Load LoadWithout(uint64_t client) const;

 private:
  struct Promise {
    int64_t bytes;
    std::string entry;
  };
  std::map<uint64_t, Promise> of_;
  std::multiset<std::string> entries_;
  Load load_;
};

/// Why there is no room, in one sentence.
std::string DescribeFull(const Meter& meter, const Load& promised, const Consumers& consumers,
                         int64_t announced);

}  // namespace penstock

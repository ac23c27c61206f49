// Datasets of streams that are being written: who writes them, and what is left of those who never announced
// them. Knows no Redis.
//
// DESIGN
//   A connection writes one dataset at a time. What it began and neither announced nor completed is given up
//   when it begins another, says so, or ends. Somebody may go on with it then: a client whose connection
//   broke comes back with a new one. So what is given up waits for a whole turn before it is taken, to be
//   removed.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock {

/// The database, and the key of the metadata, `{name}.meta`.
using DatasetKey = std::pair<int, std::string>;

class Writings {
 public:
  /// The client writes it from now on, whoever did before.
  void Begin(uint64_t client, const DatasetKey& dataset);
  /// It is complete, or announced.
  void End(const DatasetKey& dataset);
  /// The client goes on with nothing.
  void GiveUp(uint64_t client);
  /// What was given up before the last call, and of which nobody has heard since.
  std::vector<DatasetKey> TakeLeft();
  bool HasLeft() const { return !left_.empty() || !waiting_.empty(); }

 private:
  std::map<uint64_t, DatasetKey> of_;    // by client
  std::map<DatasetKey, uint64_t> by_;    // the same the other way round
  std::set<DatasetKey> waiting_, left_;  // given up in this turn; in the one before
};

/// The names in a list of SmartRedis' metadata: a byte of type, then each length (64 bit) and text. What is
/// cut short ends the list.
std::vector<std::string> UnpackNames(std::string_view packed);

}  // namespace penstock

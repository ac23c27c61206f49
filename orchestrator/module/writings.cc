#include "writings.h"

#include <cstring>

namespace penstock {

void Writings::Begin(uint64_t client, const DatasetKey& dataset) {
  End(dataset);
  GiveUp(client);
  of_.emplace(client, dataset);
  by_.emplace(dataset, client);
}

void Writings::End(const DatasetKey& dataset) {
  waiting_.erase(dataset);
  left_.erase(dataset);
  auto found = by_.find(dataset);
  if (found == by_.end()) return;
  of_.erase(found->second);
  by_.erase(found);
}

void Writings::GiveUp(uint64_t client) {
  auto found = of_.find(client);
  if (found == of_.end()) return;
  by_.erase(found->second);
  waiting_.insert(std::move(found->second));
  of_.erase(found);
}

std::vector<DatasetKey> Writings::TakeLeft() {
  std::vector<DatasetKey> taken(left_.begin(), left_.end());
  left_ = std::exchange(waiting_, {});
  return taken;
}

std::vector<std::string> UnpackNames(std::string_view packed) {
  std::vector<std::string> names;
  for (size_t at = 1; at + sizeof(uint64_t) <= packed.size();) {
    uint64_t length = 0;
    std::memcpy(&length, packed.data() + at, sizeof length);
    at += sizeof length;
    if (length > packed.size() - at) break;
    names.emplace_back(packed.substr(at, length));
    at += length;
  }
  return names;
}

}  // namespace penstock

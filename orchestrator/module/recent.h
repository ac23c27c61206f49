// The last N things used, by their key: a memory that does not grow.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>

namespace penstock {

template <class T, size_t N>
class Recent {
 public:
  const T* Find(uint64_t key) const {
    auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second.value;
  }
  T* Find(uint64_t key) {
    auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second.value;
  }
  /// Made where it is new, in the place of the one that has not been used for longest.
  T& Use(uint64_t key) {
    auto found = entries_.find(key);
    if (found == entries_.end()) {
      if (entries_.size() == N) ForgetOne();
      found = entries_.try_emplace(key).first;
    }
    found->second.used = ++uses_;
    return found->second.value;
  }

 private:
  struct Entry {
    T value;
    uint64_t used = 0;  // when, counted in uses
  };
  void ForgetOne() {
    auto older = [](const auto& a, const auto& b) { return a.second.used < b.second.used; };
    entries_.erase(std::min_element(entries_.begin(), entries_.end(), older));
  }

  std::map<uint64_t, Entry> entries_;
  uint64_t uses_ = 0;
};

}  // namespace penstock

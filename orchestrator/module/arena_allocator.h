// Which parts of an arena are in use: best fit, neighbours that are free become one.
//
// DESIGN
//   Knows offsets, not memory, and takes no lock. Blocks begin at multiples of 64 bytes; large ones begin and
//   end with a page, so that no two of them share one. Free pieces are known by their place, to join
//   neighbours, and by their size, to find the smallest that fits: every call takes logarithmic time in the
//   number of pieces.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

namespace penstock {

inline constexpr uint64_t kArenaAlignment = 64;
inline constexpr uint64_t kArenaPage = 4096;
/// Blocks of at least this many bytes are made of whole pages.
inline constexpr uint64_t kArenaLarge = 16 * kArenaPage;

class ArenaAllocator {
 public:
  /// Nothing can be allocated yet. `start` is a multiple of a page.
  explicit ArenaAllocator(uint64_t start) : end_(start) {}
  /// The bytes up to `end`, a multiple of a page, may be used from now on.
  void Extend(uint64_t end);
  /// The offset of a block of at least that many bytes, of one at least; none when no piece is large enough.
  std::optional<uint64_t> Allocate(uint64_t bytes);
  void Free(uint64_t offset);
  /// Keeps the first `bytes` of a block and frees the rest, in whole units of its alignment.
  void Trim(uint64_t offset, uint64_t bytes);
  /// The bytes that a block takes.
  uint64_t SizeOf(uint64_t offset) const { return used_.at(offset); }
  uint64_t used_bytes() const { return used_bytes_; }
  uint64_t largest_free() const { return by_size_.empty() ? 0 : by_size_.rbegin()->first; }
  size_t free_pieces() const { return free_.size(); }

  /// What a block of that many bytes takes; none when that does not fit 64 bits.
  static std::optional<uint64_t> Rounded(uint64_t bytes);

 private:
  void AddFree(uint64_t offset, uint64_t size);
  void TakeFree(uint64_t offset, uint64_t size);

  uint64_t end_;
  uint64_t used_bytes_ = 0;
  std::map<uint64_t, uint64_t> free_;                // by offset
  std::set<std::pair<uint64_t, uint64_t>> by_size_;  // the same pieces: size, offset
  std::unordered_map<uint64_t, uint64_t> used_;      // by offset
};

}  // namespace penstock

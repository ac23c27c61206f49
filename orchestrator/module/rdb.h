// Reads and writes the pieces of our values in an RDB file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "memory.h"
#include "redis_api.h"

namespace penstock {

inline constexpr int kRdbVersion = 4;

/// After an error every further read returns zero or an empty text, and ok() is false.
class RdbReader {
 public:
  explicit RdbReader(RedisModuleIO* file) : file_(file) {}
  bool ok() const { return ok_; }
  uint64_t Unsigned();
  int64_t Signed();
  /// Null after an error.
  BufferPtr Bytes();
  std::string Text();
  /// A text that was written with its NUL byte.
  std::string CText();
  /// Marks the value as damaged and says how.
  std::nullptr_t Reject(const char* what);

 private:
  RedisModuleIO* file_;
  bool ok_ = true;
};

void SaveText(RedisModuleIO* file, std::string_view text);
void SaveCText(RedisModuleIO* file, const std::string& text);

}  // namespace penstock

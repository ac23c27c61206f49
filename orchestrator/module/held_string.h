// Redis strings that outlive their command: the arguments we keep instead of copying, and the names of keys.
//
// DESIGN
//   A RedisModuleString counts its references without atomics, so only the main thread may release one.
//   Values are dropped elsewhere too (workers, FLUSHALL ASYNC): then the string goes to a list that the main
//   thread empties, from the cron and whenever it answers a blocked client. Redis may still trim, and so
//   move, an argument when the command that brought it returns. Until then no other thread may read it;
//   view() asks for the address each time.
#pragma once

#include <string_view>

#include "memory.h"
#include "redis_api.h"

namespace penstock {

/// Owns one reference. Movable, not copyable.
class HeldString {
 public:
  explicit HeldString(RedisModuleString* argument) : string_(redis::HoldString(nullptr, argument)) {}
  static HeldString Copy(std::string_view text);
  HeldString(HeldString&& other) noexcept : string_(other.string_) { other.string_ = nullptr; }
  HeldString& operator=(HeldString&&) = delete;
  ~HeldString();
  RedisModuleString* get() const { return string_; }
  std::string_view view() const;

 private:
  struct Adopt {};
  HeldString(Adopt, RedisModuleString* string) : string_(string) {}
  RedisModuleString* string_;
};

/// A Buffer whose bytes are a Redis string's.
class StringBuffer : public Buffer {
 public:
  explicit StringBuffer(HeldString string) : string_(std::move(string)) {}
  std::string_view view() const override { return string_.view(); }
  RedisModuleString* string() const { return string_.get(); }

 private:
  HeldString string_;
};

/// A part of a model's file. When the last hold on it goes on another thread than the main one, its pages are
/// given back to the system there: the main thread, which must free the string, is then done in no time. By
/// then nobody reads the string any more, see retiring.h.
class FileBuffer : public StringBuffer {
 public:
  using StringBuffer::StringBuffer;
  ~FileBuffer() override;
};

/// Remembers the calling thread as the main one.
void RememberMainThread();
/// Releases what other threads dropped. Main thread only.
void ReleaseDropped();

std::string_view View(const RedisModuleString* string);

}  // namespace penstock

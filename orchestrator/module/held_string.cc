#include "held_string.h"

#include <mutex>
#include <thread>
#include <vector>

namespace penstock {
namespace {

// Leaked on purpose: a worker may still drop a value while the process leaves.
struct Dropped {
  std::thread::id main_thread;
  std::mutex mutex;
  std::vector<RedisModuleString*> strings;  // guarded by mutex
};

Dropped& dropped() {
  static auto* list = new Dropped;
  return *list;
}

}  // namespace

HeldString HeldString::Copy(std::string_view text) {
  return HeldString(Adopt{}, redis::CreateString(nullptr, text.data(), text.size()));
}

HeldString::~HeldString() {
  if (string_ == nullptr) return;
  Dropped& list = dropped();
  if (std::this_thread::get_id() == list.main_thread) {
    redis::FreeString(nullptr, string_);
    return;
  }
  std::lock_guard lock(list.mutex);
  list.strings.push_back(string_);
}

FileBuffer::~FileBuffer() {
  if (std::this_thread::get_id() != dropped().main_thread) DiscardPages(view());
}

std::string_view HeldString::view() const { return View(string_); }

void RememberMainThread() { dropped().main_thread = std::this_thread::get_id(); }

void ReleaseDropped() {
  std::vector<RedisModuleString*> strings;
  {
    std::lock_guard lock(dropped().mutex);
    strings.swap(dropped().strings);
  }
  for (RedisModuleString* string : strings) redis::FreeString(nullptr, string);
}

std::string_view View(const RedisModuleString* string) {
  size_t size = 0;
  const char* data = redis::StringPtrLen(string, &size);
  return {data, size};
}

}  // namespace penstock

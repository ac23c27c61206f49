// Values of our own types in the keyspace: each key holds a heap-allocated shared_ptr.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "redis_api.h"
#include "retiring.h"
#include "status.h"

namespace penstock {

class OpenedKey {
 public:
  OpenedKey(RedisModuleCtx* context, RedisModuleString* name, int mode)
      : key_(redis::OpenKey(context, name, mode)) {}
  ~OpenedKey() {
    if (key_ != nullptr) redis::CloseKey(key_);
  }
  OpenedKey(const OpenedKey&) = delete;
  OpenedKey& operator=(const OpenedKey&) = delete;
  bool empty() const { return key_ == nullptr || redis::KeyType(key_) == redis::kKeyEmpty; }
  bool Holds(RedisModuleType* type) const {
    return !empty() && redis::KeyType(key_) == redis::kKeyModule && redis::ModuleTypeGetType(key_) == type;
  }
  RedisModuleKey* get() const { return key_; }

 private:
  RedisModuleKey* key_;
};

/// What an opened key holds; null when that is something else.
template <class T>
const T* ValueIn(RedisModuleKey* key, RedisModuleType* type) {
  bool holds = redis::KeyType(key) == redis::kKeyModule && redis::ModuleTypeGetType(key) == type;
  return holds ? static_cast<std::shared_ptr<T>*>(redis::ModuleTypeGetValue(key))->get() : nullptr;
}

/// What the key holds; null when it holds nothing, WRONGTYPE when it holds something else.
template <class T>
Result<std::shared_ptr<T>> FindValue(RedisModuleCtx* context, RedisModuleString* name,
                                     RedisModuleType* type) {
  OpenedKey key(context, name, redis::kRead);
  if (key.empty()) return std::shared_ptr<T>();
  if (!key.Holds(type)) return Status::WrongType();
  return *static_cast<std::shared_ptr<T>*>(redis::ModuleTypeGetValue(key.get()));
}

/// Puts a value into a key that is empty or holds one of the same type.
template <class T>
Status SetValue(RedisModuleCtx* context, RedisModuleString* name, RedisModuleType* type,
                std::shared_ptr<T> value) {
  OpenedKey key(context, name, redis::kWrite);
  if (!key.empty() && !key.Holds(type)) return Status::WrongType();
  redis::ModuleTypeSetValue(key.get(), type, new std::shared_ptr<T>(std::move(value)));
  return Status::Ok();
}

/// Keeps what the key holds, if it is of this type, from being freed by the command that takes its place.
template <class T>
void RetireValue(RedisModuleCtx* context, RedisModuleString* name, RedisModuleType* type) {
  auto found = FindValue<T>(context, name, type);
  if (found.ok()) Retire(std::move(*found));
}

/// Removes a value; false when there was none.
template <class T>
Result<bool> DeleteValue(RedisModuleCtx* context, RedisModuleString* name, RedisModuleType* type) {
  OpenedKey key(context, name, redis::kWrite);
  if (key.empty()) return false;
  if (!key.Holds(type)) return Status::WrongType();
  redis::DeleteKey(key.get());
  return true;
}

template <class T>
void FreeValue(void* value) {
  delete static_cast<std::shared_ptr<T>*>(value);
}

template <class T>
T& ValueOf(const void* value) {
  return **static_cast<const std::shared_ptr<T>*>(value);
}

/// The server only reads the bytes, although it does not say so. Two texts are not the same as both in one.
inline void AddToDigest(RedisModuleDigest* digest, std::string_view bytes) {
  auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
  redis::DigestAddStringBuffer(digest, data, bytes.size());
}

inline void AddToDigest(RedisModuleDigest* digest, const std::vector<std::string>& texts) {
  redis::DigestAddLongLong(digest, static_cast<long long>(texts.size()));
  for (const std::string& text : texts) AddToDigest(digest, std::string_view(text));
}

}  // namespace penstock

#include "rdb.h"

namespace penstock {

uint64_t RdbReader::Unsigned() {
  if (!ok_) return 0;
  uint64_t value = redis::LoadUnsigned(file_);
  ok_ = redis::IsIOError(file_) == 0;
  return ok_ ? value : 0;
}

int64_t RdbReader::Signed() {
  if (!ok_) return 0;
  int64_t value = redis::LoadSigned(file_);
  ok_ = redis::IsIOError(file_) == 0;
  return ok_ ? value : 0;
}

BufferPtr RdbReader::Bytes() {
  if (!ok_) return nullptr;
  size_t size = 0;
  char* memory = redis::LoadStringBuffer(file_, &size);
  ok_ = memory != nullptr && redis::IsIOError(file_) == 0;
  if (!ok_ && memory != nullptr) redis::Free(memory);
  return ok_ ? AdoptBytes(memory, size) : nullptr;
}

std::string RdbReader::Text() {
  BufferPtr bytes = Bytes();
  return bytes == nullptr ? std::string() : std::string(bytes->view());
}

std::string RdbReader::CText() {
  std::string text = Text();
  if (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

std::nullptr_t RdbReader::Reject(const char* what) {
  redis::LogIOError(file_, "warning", "%s", what);
  ok_ = false;
  return nullptr;
}

void SaveText(RedisModuleIO* file, std::string_view text) {
  redis::SaveStringBuffer(file, text.data(), text.size());
}

void SaveCText(RedisModuleIO* file, const std::string& text) {
  redis::SaveStringBuffer(file, text.c_str(), text.size() + 1);
}

}  // namespace penstock

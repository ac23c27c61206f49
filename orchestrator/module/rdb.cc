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

std::nullptr_t RdbReader::Reject(const Status& status) {
  redis::LogIOError(file_, "warning", "%s", status.text().c_str());
  return nullptr;
}

}  // namespace penstock

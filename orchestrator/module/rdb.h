// Connects the RDB format with a server's files.
#pragma once

#include "rdb_format.h"
#include "redis_api.h"

namespace penstock {

class RdbReader final : public RdbInput {
 public:
  explicit RdbReader(RedisModuleIO* file) : file_(file) {}
  bool ok() const override { return ok_; }
  uint64_t Unsigned() override;
  int64_t Signed() override;
  BufferPtr Bytes() override;
  /// Says in the server's log what is wrong with the value.
  std::nullptr_t Reject(const Status& status);

 private:
  RedisModuleIO* file_;
  bool ok_ = true;
};

class RdbWriter final : public RdbOutput {
 public:
  explicit RdbWriter(RedisModuleIO* file) : file_(file) {}
  void Unsigned(uint64_t value) override { redis::SaveUnsigned(file_, value); }
  void Signed(int64_t value) override { redis::SaveSigned(file_, value); }
  void Bytes(std::string_view bytes) override { redis::SaveStringBuffer(file_, bytes.data(), bytes.size()); }

 private:
  RedisModuleIO* file_;
};

}  // namespace penstock

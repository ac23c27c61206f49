// Success, or one error line for the client. Errors travel up as values to the one place that replies.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace penstock {

class [[nodiscard]] Status {
 public:
  static Status Ok() { return Status(); }
  /// `text` without a leading code: `ERR ` is put before it.
  static Status Error(std::string text) { return Status("ERR", std::move(text)); }
  static Status WrongType() {
    return Status("WRONGTYPE", "Operation against a key holding the wrong kind of value");
  }
  static Status OutOfMemory(std::string text) { return Status("OOM", std::move(text)); }
  /// `text` that starts with its own code, such as READONLY.
  static Status Coded(std::string code, std::string text) { return Status(std::move(code), std::move(text)); }

  bool ok() const { return code_.empty(); }
  bool LacksMemory() const { return code_ == "OOM"; }
  const std::string& text() const { return text_; }
  /// The line as it goes over the wire, without the leading minus.
  std::string Line() const { return code_ + " " + text_; }

 private:
  Status() = default;
  Status(std::string code, std::string text) : code_(std::move(code)), text_(std::move(text)) {}
  std::string code_;
  std::string text_;
};

/// A value, or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)), status_(Status::Ok()) {}  // NOLINT: meant to convert
  Result(Status status) : status_(std::move(status)) {}                 // NOLINT: meant to convert

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& operator*() { return *value_; }
  T* operator->() { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace penstock

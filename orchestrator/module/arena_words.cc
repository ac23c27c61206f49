#include "arena_words.h"

namespace penstock {
namespace {

constexpr int64_t kDecadesInMs = 1'000'000'000'000;  // what is later than that overflows some clock

Status Unexpected(const Arguments& words) {
  return Status::Error("unexpected word '" + std::string(words.Peek()) + "'");
}

Result<uint64_t> NextUnsigned(Arguments* words, const char* what) {
  if (words->done()) return Status::Error(std::string(what) + " is missing");
  std::string text(words->Next());
  auto number = ParseUnsigned(text);
  if (!number || *number > INT64_MAX)  // which no answer could have
    return Status::Error(std::string(what) + ": '" + text + "' is no whole number below 2^63");
  return *number;
}

Result<uint64_t> NextBytes(Arguments* words) {
  auto bytes = NextUnsigned(words, "the size of a lease");
  if (bytes.ok() && *bytes == 0) return Status::Error("a lease has one byte at least");
  return bytes;
}

Status TakeShape(Arguments* words, ArenaPutWords* put) {
  auto type = ParseDataType(words->Next());
  if (!type) return Status::Error("invalid data type");
  if (*type == DataType::kString) {
    return Status::Error("a STRING tensor cannot lie in the arena: AI.TENSORSET takes it");
  }
  put->type = *type;
  while (!words->done() && !EqualsAnyCase(words->Peek(), "OFFSET")) {
    auto dim = words->NextInteger();
    if (!dim || *dim < 0) return Status::Error("invalid or negative value found in tensor shape");
    put->dims.push_back(*dim);
  }
  auto count = ElementCount(put->dims);
  if (!count || __builtin_mul_overflow(*count, ElementSize(*type), &put->bytes)) {
    return Status::Error("invalid or negative value found in tensor shape");
  }
  if (put->bytes == 0)
    return Status::Error("a tensor without elements takes no lease: AI.TENSORSET takes it");
  return Status::Ok();
}

}  // namespace

Result<IntroductionWords> ParseIntroduction(Arguments words) {
  IntroductionWords parsed;
  if (words.done() || !words.Take("PID")) return Status::Error("PID and a process are missing");
  auto pid = words.done() ? std::nullopt : words.NextInteger();
  if (!pid) return Status::Error("PID: the number of a process is missing");
  parsed.pid = *pid;
  if (words.Take("FORMER")) {
    auto former = NextUnsigned(&words, "FORMER");
    if (!former.ok()) return former.status();
    parsed.former = *former;
    if (words.done()) return Status::Error("FORMER: the id of its arena is missing");
    parsed.arena = words.Next();
  }
  if (!words.done()) return Unexpected(words);
  return parsed;
}

Result<LeaseWords> ParseLease(Arguments words) {
  LeaseWords parsed;
  auto bytes = NextBytes(&words);
  if (!bytes.ok()) return bytes.status();
  parsed.bytes = *bytes;
  if (words.Take("TIMEOUT")) {
    auto ms = NextUnsigned(&words, "TIMEOUT");
    if (!ms.ok()) return ms.status();
    if (*ms > kDecadesInMs) return Status::Error("TIMEOUT: " + std::to_string(*ms) + " ms is beyond decades");
    parsed.timeout = std::chrono::milliseconds(*ms);
  }
  if (!words.done()) return Unexpected(words);
  return parsed;
}

Result<ArenaPutWords> ParseArenaPut(Arguments words) {
  ArenaPutWords put;
  words.Next();  // the key
  Status status = TakeShape(&words, &put);
  if (!status.ok()) return status;
  if (!words.Take("OFFSET")) return Status::Error("OFFSET is missing");
  auto offset = NextUnsigned(&words, "OFFSET");
  if (!offset.ok()) return offset.status();
  put.offset = *offset;
  put.keep = words.Take("KEEP");
  if (words.Take("LEASE")) {
    auto bytes = NextBytes(&words);
    if (!bytes.ok()) return bytes.status();
    put.lease = *bytes;
  }
  if (!words.done()) return Unexpected(words);
  return put;
}

Result<bool> ParseMap(Arguments words) {
  words.Next();  // the key
  bool blob = words.Take("BLOB");
  if (!words.done()) return Unexpected(words);
  return blob;
}

Result<std::vector<uint64_t>> ParseRelease(Arguments words) {
  std::vector<uint64_t> offsets;
  while (!words.done()) {
    auto offset = NextUnsigned(&words, "an offset");
    if (!offset.ok()) return offset.status();
    offsets.push_back(*offset);
  }
  return offsets;
}

}  // namespace penstock

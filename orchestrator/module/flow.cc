#include "flow.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>

namespace penstock {
namespace {

constexpr const char* kPolicyNames[] = {"block", "drop_oldest", "drop_newest", "thin", "spill"};
constexpr int64_t kFarFromFull = 4;               // below this part of the bound
constexpr int64_t kMostBytes = int64_t{1} << 50;  // of a snapshot: more than any machine has
constexpr int64_t kMostCount = int64_t{1} << 60;  // in a meter, so that nothing overflows that is added to it
constexpr int64_t kLongestMs = 1'000'000'000'000;  // decades: what is later overflows some clock

struct MeterNumber {
  const char* name;
  int64_t Meter::* value;
};

constexpr MeterNumber kNumbers[] = {
    {"given", &Meter::given},         {"items", &Meter::items},           {"bytes", &Meter::bytes},
    {"kept_from", &Meter::kept_from}, {"freed_from", &Meter::freed_from}, {"dropped", &Meter::dropped},
    {"skipped", &Meter::skipped},     {"spilled", &Meter::spilled},       {"waiting", &Meter::waiting},
    {"left", &Meter::left},
};

struct BoundNumber {
  const char* name;     // in a meter
  const char* keyword;  // in a command
  int64_t Bound::* value;
  int64_t most;
};

constexpr BoundNumber kBoundNumbers[] = {
    {"bound_items", "ITEMS", &Bound::items, kMostCount},
    {"bound_bytes", "BYTES", &Bound::bytes, kMostCount},
    {"keep_every", "EVERY", &Bound::keep_every, kMostCount},
    {"wait_ms", "WAIT", &Bound::wait_ms, kLongestMs},
};

Status TakeNumber(Arguments* words, const BoundNumber& number, Bound* bound) {
  if (words->done()) return Status::Error(std::string(number.keyword) + " lacks its number");
  std::string text(words->Peek());
  auto value = words->NextInteger();
  if (!value || *value < 1 || *value > number.most) {
    return Status::Error(std::string(number.keyword) + ": '" + text + "' is not a whole number from 1 to " +
                         std::to_string(number.most));
  }
  bound->*number.value = *value;
  return Status::Ok();
}

Status TakeWord(Arguments* words, Bound* bound) {
  for (const BoundNumber& number : kBoundNumbers) {
    if (words->Take(number.keyword)) return TakeNumber(words, number, bound);
  }
  std::string word(words->Next());
  bool is_policy = EqualsAnyCase(word, "POLICY");
  if (!is_policy && !EqualsAnyCase(word, "DIRECTORY")) return Status::Error("unexpected word '" + word + "'");
  if (words->done()) return Status::Error(UpperCase(word) + " lacks its value");
  std::string value(words->Next());
  if (!is_policy) {
    bound->directory = value;
    return Status::Ok();
  }
  auto policy = ParsePolicy(value);
  if (!policy) {
    return Status::Error("POLICY: '" + value + "' is none of block, drop_oldest, drop_newest, thin, spill");
  }
  bound->policy = *policy;
  return Status::Ok();
}

Status Check(const Bound& bound) {
  if (bound.items == 0 && bound.bytes == 0) return Status::Error("a bound has ITEMS, BYTES or both");
  bool thin = bound.policy == Policy::kThin, spill = bound.policy == Policy::kSpill;
  if (thin && bound.keep_every < 2) return Status::Error("the policy thin needs EVERY of at least 2");
  if (!thin && bound.keep_every != 0) return Status::Error("EVERY belongs to the policy thin");
  if (spill && (bound.directory.empty() || bound.directory[0] != '/')) {
    return Status::Error("the policy spill needs DIRECTORY with an absolute path");
  }
  if (!spill && !bound.directory.empty()) return Status::Error("DIRECTORY belongs to the policy spill");
  if (!thin && bound.policy != Policy::kBlock && bound.wait_ms != 0) {
    return Status::Error("WAIT belongs to the policies block and thin");
  }
  return Status::Ok();
}

int64_t Number(const std::optional<std::string>& text) {
  return text ? std::clamp(ParseInteger(*text).value_or(0), -kMostCount, kMostCount) : 0;
}

std::string Counted(int64_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

const char* PolicyName(Policy policy) { return kPolicyNames[static_cast<size_t>(policy)]; }

std::optional<Policy> ParsePolicy(std::string_view name) {
  for (size_t i = 0; i < std::size(kPolicyNames); ++i) {
    if (EqualsAnyCase(name, kPolicyNames[i])) return static_cast<Policy>(i);
  }
  return std::nullopt;
}

std::string DescribeBytes(int64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  char text[64];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string Describe(const Bound& bound) {
  std::string text;
  if (bound.items > 0) text += Counted(bound.items, "item") + ", ";
  if (bound.bytes > 0) text += DescribeBytes(bound.bytes) + ", ";
  text += PolicyName(bound.policy);
  if (bound.keep_every > 0) text += " to one of " + std::to_string(bound.keep_every);
  if (!bound.directory.empty()) text += " to " + bound.directory;
  if (bound.wait_ms > 0) text += " for " + std::to_string(bound.wait_ms) + " ms";
  return text;
}

Result<Bound> ParseBound(Arguments* words) {
  Bound bound;
  while (!words->done()) {
    Status status = TakeWord(words, &bound);
    if (!status.ok()) return status;
  }
  Status status = Check(bound);
  if (!status.ok()) return status;
  return bound;
}

Result<int64_t> ParseBytes(Arguments* words) {
  auto bytes = words->NextInteger();
  if (bytes && *bytes >= 0 && *bytes <= kMostBytes) return *bytes;
  return Status::Error("bytes are a whole number of at least 0 and at most " + std::to_string(kMostBytes));
}

Result<int64_t> ParseTimeout(Arguments* words) {
  if (words->done()) return int64_t{0};
  bool timeout = words->Take("TIMEOUT");
  int64_t wait = timeout && words->left() == 1 ? words->NextInteger().value_or(0) : 0;
  if (wait > 0 && wait <= kLongestMs) return wait;
  return Status::Error("TIMEOUT is a whole number from 1 to " + std::to_string(kLongestMs) +
                       ", ms, and the last word");
}

bool HasRoom(const Bound& bound, const Load& load, int64_t bytes) {
  bool items = bound.items == 0 || load.items < bound.items;
  return items && (bound.bytes == 0 || bytes <= bound.bytes - load.bytes);
}

bool IsFarFromFull(const Bound& bound, const Load& load, int64_t bytes) {
  bool items = bound.items == 0 || load.items < bound.items / kFarFromFull;
  return items && (bound.bytes == 0 || bytes <= bound.bytes / kFarFromFull - load.bytes);
}

Load LoadOf(std::span<const int64_t> sizes) {
  Load load;
  for (int64_t size : sizes) {
    if (size < 0) continue;
    ++load.items;
    load.bytes += size;
  }
  return load;
}

int64_t CountToDrop(const Bound& bound, Load load, std::span<const int64_t> sizes, int64_t bytes) {
  int64_t count = 0;
  for (int64_t size : sizes) {
    if (HasRoom(bound, load, bytes)) break;
    ++count;
    load.items -= size >= 0 ? 1 : 0;
    load.bytes -= std::max<int64_t>(size, 0);
  }
  return count;
}

std::optional<SeriesStep> ParseEntry(std::string_view entry) {
  if (!entry.empty() && entry.back() == '}') entry.remove_suffix(1);
  size_t dot = entry.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return std::nullopt;
  auto step = ParseUnsigned(entry.substr(dot + 1));
  if (!step || *step > INT64_MAX) return std::nullopt;
  std::string series(entry.substr(0, dot));
  std::erase(series, '{');
  return SeriesStep{series, static_cast<int64_t>(*step)};
}

int64_t MarkOf(std::string_view contract) {
  constexpr uint64_t kBasis = 0xcbf29ce484222325, kPrime = 0x100000001b3, kBits = (uint64_t{1} << 50) - 1;
  uint64_t hash = kBasis;
  for (unsigned char c : contract) hash = (hash ^ c) * kPrime;
  return static_cast<int64_t>(hash & kBits);
}

const std::vector<std::string>& MeterFields() {
  static const auto* fields = [] {
    auto* names = new std::vector<std::string>{"policy", "directory", "id"};
    for (const BoundNumber& number : kBoundNumbers) names->emplace_back(number.name);
    for (const MeterNumber& number : kNumbers) names->emplace_back(number.name);
    return names;
  }();
  return *fields;
}

std::vector<std::string> MeterTexts(const Meter& meter) {
  std::vector<std::string> texts{PolicyName(meter.bound.policy), meter.bound.directory, meter.id};
  for (const BoundNumber& number : kBoundNumbers) texts.push_back(std::to_string(meter.bound.*number.value));
  for (const MeterNumber& number : kNumbers) texts.push_back(std::to_string(meter.*number.value));
  return texts;
}

Meter ParseMeter(std::span<const std::optional<std::string>> texts) {
  Meter meter;
  size_t at = 0;
  meter.bound.policy = ParsePolicy(texts[at++].value_or("")).value_or(Policy::kBlock);
  meter.bound.directory = texts[at++].value_or("");
  meter.id = texts[at++].value_or("");
  for (const BoundNumber& number : kBoundNumbers) meter.bound.*number.value = Number(texts[at++]);
  for (const MeterNumber& number : kNumbers) meter.*number.value = Number(texts[at++]);
  return meter;
}

std::string SpillDirectory(const Meter& meter) {
  return meter.id.empty() ? meter.bound.directory : meter.bound.directory + "/" + meter.id;
}

int64_t AcknowledgedBy(const Consumers& consumers, const Meter& meter, int64_t announced) {
  if (consumers.empty()) return meter.left > 0 ? announced : 0;
  auto slowest = std::min_element(consumers.begin(), consumers.end(),
                                  [](const auto& a, const auto& b) { return a.second < b.second; });
  return std::min(slowest->second, announced);
}

void Promises::Make(uint64_t client, int64_t bytes, std::string entry) {
  End(client);
  if (!entry.empty()) entries_.insert(entry);
  of_.emplace(client, Promise{bytes, std::move(entry)});
  ++load_.items;
  load_.bytes += bytes;
}

bool Promises::End(uint64_t client) {
  auto found = of_.find(client);
  if (found == of_.end()) return false;
  --load_.items;
  load_.bytes -= found->second.bytes;
  auto entry = entries_.find(found->second.entry);
  if (entry != entries_.end()) entries_.erase(entry);
  of_.erase(found);
  return true;
}

Load Promises::LoadWithout(uint64_t client) const {
  auto found = of_.find(client);
  if (found == of_.end()) return load_;
  return {load_.items - 1, load_.bytes - found->second.bytes};
}

std::string DescribeFull(const Meter& meter, const Load& promised, const Consumers& consumers,
                         int64_t announced) {
  std::string text =
      "it keeps " + Counted(meter.items, "snapshot") + " of " + DescribeBytes(meter.bytes) + " in all";
  if (promised.items > 0) text += " and has promised room for " + std::to_string(promised.items) + " more";
  text += ", its bound is " + Describe(meter.bound) + "; ";
  if (consumers.empty()) return text + "nobody has subscribed to it, so nothing is acknowledged";
  auto slowest = std::min_element(consumers.begin(), consumers.end(),
                                  [](const auto& a, const auto& b) { return a.second < b.second; });
  return text + "its slowest consumer '" + slowest->first + "' has acknowledged " +
         std::to_string(slowest->second) + " of " + std::to_string(announced);
}

}  // namespace penstock

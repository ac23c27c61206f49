#include "stream_state.h"

#include <algorithm>

namespace penstock {
namespace {

constexpr int64_t kMostAtOnce = 64;  // names in one answer
constexpr int64_t kSizesAtOnce = 512;

std::vector<std::string_view> Views(std::initializer_list<std::string_view> first,
                                    const std::vector<std::string>& rest) {
  std::vector<std::string_view> words(first);
  words.insert(words.end(), rest.begin(), rest.end());
  return words;
}

}  // namespace

Result<StreamState> StreamState::Read(RedisModuleCtx* context, std::string_view name, const Bound& standard) {
  StreamState stream(context, name);
  Status status = stream.ReadMeter(standard);
  if (!status.ok()) return status;
  stream.CountUncounted();
  return stream;
}

Status StreamState::ReadMeter(const Bound& standard) {
  std::string key = Key("meter");
  auto fields = Ask(context_, "HMGET", Views({key}, MeterFields()));
  if (!fields.ok()) return fields.status();
  read_ = TextsOf(*fields);
  meter = ParseMeter(read_);
  if (meter.given == 0) meter.bound = standard;
  auto length = Ask(context_, "LLEN", {name_});
  if (!length.ok()) return length.status();
  announced_ = NumberOf(length->get());
  auto sized = Ask(context_, "LLEN", {Key("sizes")});
  if (!sized.ok()) return sized.status();
  sized_ = NumberOf(sized->get());
  return Status::Ok();
}

void StreamState::CountUncounted() {
  anew_ = announced_ < meter.freed_from + sized_ || meter.freed_from < 0 || meter.kept_from > announced_;
  if (anew_) meter.items = meter.bytes = meter.kept_from = meter.freed_from = sized_ = 0;
  uncounted_ = announced_ - meter.freed_from - sized_;
  meter.items += uncounted_;
}

Consumers StreamState::consumers() {
  Consumers found;
  auto answer = Ask(context_, "HGETALL", {Key("consumers")});
  if (!answer.ok()) return found;
  auto texts = TextsOf(*answer);
  for (size_t i = 0; i + 1 < texts.size(); i += 2) {
    int64_t position = ParseInteger(texts[i + 1].value_or("")).value_or(0);
    found.emplace(texts[i].value_or(""), std::min(position, announced_));
  }
  return found;
}

void StreamState::KeepUnacknowledged() {
  meter.kept_from = std::max(meter.kept_from, AcknowledgedBy(consumers(), meter, announced_));
}

std::vector<int64_t> StreamState::Sizes(int64_t from, int64_t count) {
  std::vector<int64_t> sizes;
  int64_t begin = from - meter.freed_from;
  auto answer =
      Ask(context_, "LRANGE", {Key("sizes"), std::to_string(begin), std::to_string(begin + count - 1)});
  if (answer.ok()) {
    for (auto& text : TextsOf(*answer)) sizes.push_back(ParseInteger(text.value_or("")).value_or(0));
  }
  sizes.resize(static_cast<size_t>(std::min(count, announced_ - from)));  // the uncounted have none
  return sizes;
}

void StreamState::DropOldest(const Load& promised, int64_t bytes) {
  Load load{meter.items + promised.items, meter.bytes + promised.bytes};
  for (int64_t count = kSizesAtOnce; count == kSizesAtOnce;) {
    auto sizes = Sizes(meter.kept_from, kSizesAtOnce);
    count = CountToDrop(meter.bound, load, sizes, bytes);
    Load gone = LoadOf(std::span(sizes).first(static_cast<size_t>(count)));
    load = {load.items - gone.items, load.bytes - gone.bytes};
    meter.kept_from += count;
    meter.dropped += count;
  }
}

StreamState::Removal StreamState::NextRemoval(const Promises& promises) {
  Removal removal;
  int64_t count = std::min(meter.kept_from - meter.freed_from, kMostAtOnce);
  if (count <= 0) return removal;
  auto names = Ask(context_, "LRANGE",
                   {name_, std::to_string(meter.freed_from), std::to_string(meter.freed_from + count - 1)});
  if (!names.ok()) return removal;
  auto sizes = Sizes(meter.freed_from, count);
  auto texts = TextsOf(*names);
  removal.upto = meter.freed_from;
  for (size_t i = 0; i < std::min(texts.size(), sizes.size()); ++i) {
    std::string entry = texts[i].value_or("");
    if (promises.IsPromised(entry)) break;
    if (sizes[i] != kReplaced) removal.entries.push_back(std::move(entry));
    ++removal.upto;
  }
  if (removal.upto == meter.freed_from) removal.upto = 0;
  return removal;
}

void StreamState::Freed(int64_t upto) {
  upto = std::min(upto, meter.kept_from);
  if (upto <= meter.freed_from) return;
  if (!WriteUncounted().ok()) return;
  int64_t count = upto - meter.freed_from;
  Load gone = LoadOf(Sizes(meter.freed_from, count));
  auto cut = Change(context_, "LTRIM", {Key("sizes"), std::to_string(count), "-1"});
  if (!cut.ok()) return;
  meter.items -= gone.items;
  meter.bytes -= gone.bytes;
  meter.freed_from = upto;
  sized_ -= count;
}

Result<std::optional<int64_t>> StreamState::ContractMark() const {
  auto answer = Ask(context_, "GET", {Key("contract")});
  if (!answer.ok()) return answer.status();
  auto text = TextOf(answer->get());
  return text ? std::optional(MarkOf(*text)) : std::nullopt;
}

Result<bool> StreamState::NoteStep(std::string_view entry) {
  auto step = ParseEntry(entry);
  if (!step) return true;
  std::string steps = Key("steps"), number = std::to_string(step->step);
  auto last = Ask(context_, "HGET", {steps, step->series});
  if (!last.ok()) return last.status();
  auto text = TextOf(last->get());
  if (text && ParseInteger(*text).value_or(-1) >= step->step) return false;
  auto set = Change(context_, "HSET", {steps, step->series, number});
  if (!set.ok()) return set.status();
  return true;
}

Status StreamState::ReplaceEarlier(std::string_view entry, bool* repeated) {
  auto grows = NoteStep(entry);
  if (!grows.ok()) return grows.status();
  *repeated = !*grows;
  if (*grows) return Status::Ok();
  std::string most = std::to_string(std::max<int64_t>(announced_ - meter.freed_from, 1));
  auto place = Ask(context_, "LPOS", {name_, entry, "RANK", "-1", "MAXLEN", most});
  if (!place.ok()) return place.status();
  if (redis::CallReplyType(place->get()) != redis::kReplyInteger) return Status::Ok();
  int64_t at = NumberOf(place->get());
  if (at < meter.freed_from) return Status::Ok();
  Load gone = LoadOf(Sizes(at, 1));
  std::string index = std::to_string(at - meter.freed_from), replaced = std::to_string(kReplaced);
  auto marked = Change(context_, "LSET", {Key("sizes"), index, replaced});
  if (!marked.ok()) return marked.status();
  meter.items -= gone.items;
  meter.bytes -= gone.bytes;
  return Status::Ok();
}

Status StreamState::Announce(std::string_view entry, int64_t size, bool* repeated) {
  Status status = WriteUncounted();
  if (status.ok()) status = ReplaceEarlier(entry, repeated);
  if (!status.ok()) return status;
  auto pushed = Change(context_, "RPUSH", {name_, entry});
  if (!pushed.ok()) return pushed.status();
  announced_ = NumberOf(pushed->get());
  auto sized = Change(context_, "RPUSH", {Key("sizes"), std::to_string(size)});
  if (!sized.ok()) return sized.status();
  ++sized_;
  Load added = LoadOf(std::span(&size, 1));
  meter.items += added.items;
  meter.bytes += added.bytes;
  if (size == kSpilled) ++meter.spilled;
  return Status::Ok();
}

void StreamState::SetConsumer(const std::string& consumer, int64_t position) {
  (void)Change(context_, "HSET", {Key("consumers"), consumer, std::to_string(position)});
}

void StreamState::RemoveConsumer(const std::string& consumer) {
  (void)Change(context_, "HDEL", {Key("consumers"), consumer});
}

Status StreamState::WriteUncounted() {
  if (anew_) {
    auto deleted = Change(context_, "DEL", {Key("sizes"), Key("steps")});
    if (!deleted.ok()) return deleted.status();
    for (auto& [consumer, position] : consumers()) SetConsumer(consumer, position);
    anew_ = false;
  }
  while (uncounted_ > 0) {
    std::vector<std::string> zeros(static_cast<size_t>(std::min(uncounted_, kSizesAtOnce)), "0");
    std::string key = Key("sizes");
    auto pushed = Change(context_, "RPUSH", Views({key}, zeros));
    if (!pushed.ok()) return pushed.status();
    sized_ += static_cast<int64_t>(zeros.size());
    uncounted_ -= static_cast<int64_t>(zeros.size());
  }
  return Status::Ok();
}

Status StreamState::Write() {
  Status status = WriteUncounted();
  if (!status.ok()) return status;
  std::string key = Key("meter");
  std::vector<std::string_view> words{key};
  auto texts = MeterTexts(meter);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (read_[i] == texts[i]) continue;
    words.push_back(MeterFields()[i]);
    words.push_back(texts[i]);
  }
  if (words.size() == 1) return Status::Ok();
  auto written = Change(context_, "HSET", words);
  if (!written.ok()) return written.status();
  read_.assign(texts.begin(), texts.end());
  return Status::Ok();
}

}  // namespace penstock

// PENSTOCK.BOUND, RESERVE, UNRESERVE, ANNOUNCE, SUBSCRIBE, UNSUBSCRIBE, ACK, FREED and METER: what clients
// and the database tell one another of a stream. See flow.h for how data comes and goes.
#include <algorithm>
#include <map>

#include "commands.h"
#include "dataset_writing.h"
#include "held_string.h"
#include "random_id.h"
#include "reply.h"
#include "stream_waiting.h"

namespace penstock {
namespace {

// One command on one stream.
struct Asked {
  RedisModuleCtx* context;
  StreamKey key;
  StreamState stream;
  const Promises& promises() const { return PromisesOf(key); }
  uint64_t client() const { return redis::GetClientId(context); }
};

Result<Asked> Open(RedisModuleCtx* context, std::string_view name) {
  if (name.empty()) return Status::Error("a stream has a name");
  auto stream = StreamState::Read(context, name, StandardBound());
  if (!stream.ok()) return stream.status();
  return Asked{context, {redis::GetSelectedDb(context), std::string(name)}, std::move(*stream)};
}

// What a command that makes room ends with.
Status Settle(Asked* asked) {
  ServeWaiting(&asked->stream, asked->key);
  return asked->stream.Write();
}

int ReplyNextRemoval(Asked* asked) {
  return ReplyRemove(asked->context, asked->stream.NextRemoval(asked->promises()));
}

// ---- thin

// Of each series, how many found no room since one was kept. Forgotten with the server, which is harmless.
std::map<StreamKey, std::map<std::string, int64_t>>& skipped() {
  static auto* map = new std::map<StreamKey, std::map<std::string, int64_t>>;
  return *map;
}

std::string SeriesOf(std::string_view entry) {
  auto parsed = ParseEntry(entry);
  return parsed ? parsed->series : std::string(entry);
}

// Whether a snapshot that found no room is to be skipped.
bool IsThinnedOut(const Asked& asked, std::string_view entry) {
  int64_t& count = skipped()[asked.key][SeriesOf(entry)];
  if (++count < asked.stream.meter.bound.keep_every) return true;
  count = 0;
  return false;
}

void NoteKept(const Asked& asked, std::string_view entry) {
  auto of_stream = skipped().find(asked.key);
  if (of_stream == skipped().end()) return;
  of_stream->second.erase(SeriesOf(entry));
  if (of_stream->second.empty()) skipped().erase(of_stream);
}

// ---- RESERVE

struct Wanted {
  std::string entry;
  int64_t bytes = 0;
  int64_t wait_ms = 0;  // 0: not at all
};

Result<Wanted> ParseWanted(Arguments* words) {
  Wanted wanted{std::string(words->Next()), 0, 0};
  auto bytes = ParseBytes(words);
  if (!bytes.ok()) return bytes.status();
  wanted.bytes = *bytes;
  auto wait = ParseTimeout(words);
  if (!wait.ok()) return wait.status();
  wanted.wait_ms = *wait;
  return wanted;
}

int Wait(Asked* asked, const Wanted& wanted) {
  const Bound& bound = asked->stream.meter.bound;
  int64_t wait = bound.wait_ms > 0 ? std::min(bound.wait_ms, wanted.wait_ms) : wanted.wait_ms;
  if (wait == 0 || !MayBlock(asked->context))
    return ReplyFull(asked->context, &asked->stream, asked->promises().load());
  WaitForRoom(asked->context, asked->key, wanted.entry, wanted.bytes, wait);
  asked->stream.meter.waiting = CountWaiting(asked->key);
  (void)asked->stream.Write();
  return redis::kOk;
}

int Skip(Asked* asked, std::string_view entry) {
  ++asked->stream.meter.skipped;
  (void)asked->stream.NoteStep(entry);  // whoever watches over the producer sees that it goes on
  Status status = asked->stream.Write();
  if (!status.ok()) return Reply(asked->context, status);
  redis::ReplyWithArray(asked->context, 1);
  return ReplyText(asked->context, "skip");
}

int Spill(RedisModuleCtx* context, const Meter& meter) {
  redis::ReplyWithArray(context, 2);
  ReplyText(context, "spill");
  return ReplyText(context, SpillDirectory(meter));
}

// A stream that spills has an id, in this database alone.
Status Identify(Meter* meter) {
  constexpr size_t kIdDigits = 16;
  if (meter->bound.policy != Policy::kSpill || !meter->id.empty()) return Status::Ok();
  auto id = RandomId(kIdDigits);
  if (id.ok()) meter->id = *id;
  return id.status();
}

int FindRoom(Asked* asked, const Wanted& wanted) {
  StreamState& stream = asked->stream;
  stream.KeepUnacknowledged();
  if (!stream.HasRemovals() && stream.meter.bound.policy == Policy::kDropOldest)
    stream.DropOldest(asked->promises().load(), wanted.bytes);
  if (stream.HasRemovals()) {
    Status status = stream.Write();
    if (!status.ok()) return Reply(asked->context, status);
    auto removal = stream.NextRemoval(asked->promises());
    if (removal.upto > 0) return ReplyRemove(asked->context, removal);
  }
  switch (stream.meter.bound.policy) {
    case Policy::kDropNewest:
      return Skip(asked, wanted.entry);
    case Policy::kThin:
      return IsThinnedOut(*asked, wanted.entry) ? Skip(asked, wanted.entry) : Wait(asked, wanted);
    case Policy::kSpill:
      return Spill(asked->context, stream.meter);
    default:
      return Wait(asked, wanted);
  }
}

int ReserveIn(Asked* asked, const Wanted& wanted) {
  const Bound& bound = asked->stream.meter.bound;
  if (bound.bytes > 0 && wanted.bytes > bound.bytes && bound.policy != Policy::kSpill) {
    std::string text = "a snapshot of " + DescribeBytes(wanted.bytes) + " never fits, its bound is ";
    return Reply(asked->context, Status::Coded("STREAMFULL", text + Describe(bound)));
  }
  EndPromise(asked->key, asked->client());
  const Load& promised = asked->promises().load();
  Load load{asked->stream.meter.items + promised.items, asked->stream.meter.bytes + promised.bytes};
  bool may_go = IsNext(asked->key, asked->client()) && HasRoom(bound, load, wanted.bytes);
  if (!may_go) return FindRoom(asked, wanted);
  NoteKept(*asked, wanted.entry);
  TakeTurn(asked->key, asked->client());
  Promise(asked->key, asked->client(), wanted.bytes, wanted.entry);
  return ReplyGo(asked->context);
}

// ---- ANNOUNCE

struct Announced {
  int64_t size = 0;               // bytes, or kSpilled
  std::string_view dataset;       // the key of its metadata, where it is to be called complete
  std::optional<int64_t> agreed;  // the mark of the contract that the client keeps
  std::optional<int64_t> next;
};

Result<int64_t> ParseMark(Arguments* words) {
  auto mark = words->NextInteger();
  if (mark && *mark >= 0) return *mark;
  return Status::Error("the mark of a contract is a whole number of at least 0");
}

// One keyword and its value.
Status TakeMore(Arguments* words, Announced* announced) {
  std::string keyword = UpperCase(words->Next());
  bool known = keyword == "COMPLETE" || keyword == "AGREED" || keyword == "NEXT";
  if (!known || words->done())
    return Status::Error("behind the bytes come COMPLETE key, AGREED mark and NEXT bytes, and nothing else");
  if (keyword == "COMPLETE") {
    announced->dataset = words->Next();
    return CheckMetadataKey(announced->dataset);
  }
  auto number = keyword == "AGREED" ? ParseMark(words) : ParseBytes(words);
  if (!number.ok()) return number.status();
  (keyword == "AGREED" ? announced->agreed : announced->next) = *number;
  return Status::Ok();
}

Result<Announced> ParseAnnounced(Arguments* words) {
  Announced announced;
  if (words->Take("SPILLED")) {
    announced.size = kSpilled;
  } else {
    auto bytes = ParseBytes(words);
    if (!bytes.ok()) return bytes.status();
    announced.size = *bytes;
  }
  while (!words->done()) {
    Status status = TakeMore(words, &announced);
    if (!status.ok()) return status;
  }
  return announced;
}

// What a client has to hear before anything is announced: nothing fails after it half-way.
Status CheckAnnounced(const Asked& asked, const Announced& announced) {
  if (announced.agreed) {
    auto mark = asked.stream.ContractMark();
    if (!mark.ok()) return mark.status();
    if (*mark != announced.agreed)
      return Status::Coded("DISAGREED", "the stream '" + asked.stream.name() + "' has " +
                                            (*mark ? "another contract" : "no contract any more"));
  }
  return announced.dataset.empty() ? Status::Ok() : CheckIsThere(asked.context, announced.dataset);
}

// Whether the client's next snapshot has its place before it asks.
bool PromiseNext(Asked* asked, int64_t bytes) {
  const Meter& meter = asked->stream.meter;
  const Load& promised = asked->promises().load();
  Load load{meter.items + promised.items, meter.bytes + promised.bytes};
  if (IsInScript(asked->context) || CountWaiting(asked->key) > 0) return false;
  if (!IsFarFromFull(meter.bound, load, bytes)) return false;
  Promise(asked->key, asked->client(), bytes);
  return true;
}

int AnnounceIn(Asked* asked, std::string_view entry, const Announced& announced) {
  bool repeated = false;
  Status status = CheckAnnounced(*asked, announced);
  if (status.ok()) status = asked->stream.Announce(entry, announced.size, &repeated);
  // Last: one that could not be announced is not complete either, and is removed with its writer.
  if (status.ok() && !announced.dataset.empty()) status = CompleteDataset(asked->context, announced.dataset);
  if (!status.ok()) return Reply(asked->context, status);
  EndPromise(asked->key, asked->client());
  bool promised = announced.next && !repeated && PromiseNext(asked, *announced.next);
  if (CountWaiting(asked->key) > 0) asked->stream.KeepUnacknowledged();
  status = Settle(asked);
  if (!status.ok()) return Reply(asked->context, status);
  redis::ReplyWithArray(asked->context, 2);
  redis::ReplyWithLongLong(asked->context, asked->stream.announced() - 1);
  return redis::ReplyWithLongLong(asked->context, promised ? 1 : 0);
}

// ---- Consumers

// The name of a consumer, which is the last word but `more`.
Result<std::string> ConsumerName(Arguments* words) {
  std::string name(words->Next());
  if (name.empty()) return Status::Error("a consumer has a name");
  return name;
}

Status Unknown(const Asked& asked, const std::string& consumer) {
  return Status::Error("'" + consumer + "' has not subscribed to the stream '" + asked.stream.name() + "'");
}

int ReplyMeter(RedisModuleCtx* context, Asked* asked) {
  Meter meter = asked->stream.meter;
  const Load& promised = asked->promises().load();
  meter.waiting = CountWaiting(asked->key);
  auto texts = MeterTexts(meter);
  std::vector<std::pair<std::string, std::string>> more = {
      {"announced", std::to_string(asked->stream.announced())},
      {"promised_items", std::to_string(promised.items)},
      {"promised_bytes", std::to_string(promised.bytes)}};
  for (auto& [consumer, position] : asked->stream.consumers())
    more.emplace_back("consumer:" + consumer, std::to_string(position));
  for (auto& entry : EntriesWaiting(asked->key)) more.emplace_back("waiter:" + entry, "1");
  redis::ReplyWithArray(context, static_cast<long>(2 * (texts.size() + more.size())));
  for (size_t i = 0; i < texts.size(); ++i) {
    ReplyText(context, MeterFields()[i]);
    ReplyText(context, texts[i]);
  }
  for (auto& [name, text] : more) {
    ReplyText(context, name);
    ReplyText(context, text);
  }
  return redis::kOk;
}

}  // namespace

// S [ITEMS n] [BYTES n] [POLICY name] [EVERY n] [DIRECTORY path] [WAIT ms] [REPLACE]
int StreamBound(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 4) return WrongArity(context, argv[0]);
  bool replace = EqualsAnyCase(View(argv[argc - 1]), "REPLACE");
  Arguments words = Words(argv, replace ? argc - 1 : argc);
  auto asked = Open(context, words.Next());
  if (!asked.ok()) return Reply(context, asked.status());
  auto bound = ParseBound(&words);
  if (!bound.ok()) return Reply(context, bound.status());
  Meter& meter = asked->stream.meter;
  if (meter.given != 0 && !replace && meter.bound != *bound) {
    return Reply(context, Status::Error("the stream '" + asked->stream.name() + "' has the bound " +
                                        Describe(meter.bound) + ", not " + Describe(*bound)));
  }
  if (meter.given == 0) skipped().erase(asked->key);  // of a stream of that name that was forgotten
  meter.bound = *bound;
  meter.given = 1;
  Status status = Identify(&meter);
  if (!status.ok()) return Reply(context, status);
  return Reply(context, Settle(&*asked));
}

// S entry bytes [TIMEOUT ms]
int StreamReserve(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc < 4) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  std::string_view name = words.Next();
  auto wanted = ParseWanted(&words);
  if (!wanted.ok()) return Reply(context, wanted.status());
  if (IsInScript(context)) return Reply(context, RefuseInScript());
  auto asked = Open(context, name);
  if (!asked.ok()) return Reply(context, asked.status());
  return ReserveIn(&*asked, *wanted);
}

// S
int StreamRelease(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 2) return WrongArity(context, argv[0]);
  uint64_t client = redis::GetClientId(context);
  GiveUpWriting(client);  // whatever the stream's keys hold
  auto asked = Open(context, View(argv[1]));
  if (!asked.ok()) return Reply(context, asked.status());
  EndPromise(asked->key, client);
  return Reply(context, Settle(&*asked));
}

// Where they are: the stream, and the dataset that is to be completed.
std::vector<size_t> KeysOfAnnounce(RedisModuleString** argv, int argc) {
  std::vector<size_t> keys{1};
  for (int i = 4; i + 1 < argc; i += 2)
    if (EqualsAnyCase(View(argv[i]), "COMPLETE")) keys.push_back(static_cast<size_t>(i) + 1);
  return keys;
}

// S entry bytes|SPILLED [COMPLETE key] [AGREED mark] [NEXT bytes]
int StreamAnnounce(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (redis::IsKeysPositionRequest(context) != 0) return TellKeys(context, KeysOfAnnounce(argv, argc));
  if (argc < 4) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  std::string_view name = words.Next(), entry = words.Next();
  auto announced = ParseAnnounced(&words);
  if (!announced.ok()) return Reply(context, announced.status());
  auto asked = Open(context, name);
  if (!asked.ok()) return Reply(context, asked.status());
  return AnnounceIn(&*asked, entry, *announced);
}

// S consumer
int StreamSubscribe(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 3) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  auto asked = Open(context, words.Next());
  if (!asked.ok()) return Reply(context, asked.status());
  auto consumer = ConsumerName(&words);
  if (!consumer.ok()) return Reply(context, consumer.status());
  auto consumers = asked->stream.consumers();
  auto known = consumers.find(*consumer);
  int64_t position = known == consumers.end() ? asked->stream.meter.kept_from : known->second;
  if (known == consumers.end()) asked->stream.SetConsumer(*consumer, position);
  Status status = asked->stream.Write();
  return status.ok() ? redis::ReplyWithLongLong(context, position) : Reply(context, status);
}

// S consumer
int StreamUnsubscribe(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 3) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  auto asked = Open(context, words.Next());
  if (!asked.ok()) return Reply(context, asked.status());
  auto consumer = ConsumerName(&words);
  if (!consumer.ok()) return Reply(context, consumer.status());
  if (asked->stream.consumers().count(*consumer) == 0) return Reply(context, Unknown(*asked, *consumer));
  asked->stream.RemoveConsumer(*consumer);
  ++asked->stream.meter.left;
  asked->stream.KeepUnacknowledged();
  Status status = Settle(&*asked);
  return status.ok() ? ReplyNextRemoval(&*asked) : Reply(context, status);
}

// S consumer position
int StreamAcknowledge(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 4) return WrongArity(context, argv[0]);
  Arguments words = Words(argv, argc);
  auto asked = Open(context, words.Next());
  if (!asked.ok()) return Reply(context, asked.status());
  auto consumer = ConsumerName(&words);
  if (!consumer.ok()) return Reply(context, consumer.status());
  auto position = words.NextInteger();
  int64_t announced = asked->stream.announced();
  if (!position || *position < 0 || *position > announced)
    return Reply(context, Status::Error("a position to acknowledge is 0 to " + std::to_string(announced) +
                                        ", which is how many are announced"));
  auto consumers = asked->stream.consumers();
  auto known = consumers.find(*consumer);
  if (known == consumers.end()) return Reply(context, Unknown(*asked, *consumer));
  if (known->second < *position) asked->stream.SetConsumer(*consumer, *position);
  asked->stream.KeepUnacknowledged();
  Status status = Settle(&*asked);
  return status.ok() ? ReplyNextRemoval(&*asked) : Reply(context, status);
}

// S upto
int StreamFreed(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 3) return WrongArity(context, argv[0]);
  auto upto = ParseInteger(View(argv[2]));
  if (!upto || *upto < 0) return Reply(context, Status::Error("a position is a whole number of at least 0"));
  auto asked = Open(context, View(argv[1]));
  if (!asked.ok()) return Reply(context, asked.status());
  asked->stream.Freed(*upto);
  Status status = Settle(&*asked);
  return status.ok() ? ReplyNextRemoval(&*asked) : Reply(context, status);
}

// S
int StreamMeter(RedisModuleCtx* context, RedisModuleString** argv, int argc) {
  if (argc != 2) return WrongArity(context, argv[0]);
  auto asked = Open(context, View(argv[1]));
  return asked.ok() ? ReplyMeter(context, &*asked) : Reply(context, asked.status());
}

}  // namespace penstock

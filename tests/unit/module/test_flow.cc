#include <array>
#include <limits>

#include "check.h"
#include "flow.h"
#include "machine_memory.h"

using namespace penstock;
using penstock::test::Text;

namespace {

Result<Bound> Parse(std::vector<std::string_view> words) {
  words.insert(words.begin(), "PENSTOCK.BOUND");
  Arguments arguments(std::move(words));
  return ParseBound(&arguments);
}

void ABoundIsRead() {
  auto bound = Parse({"items", "64", "BYTES", "2000000000", "policy", "THIN", "EVERY", "10", "WAIT", "5"});
  CHECK_EQUAL(Text(bound), "ok");
  CHECK_EQUAL(Describe(*bound), "64 items, 2.0 GB, thin to one of 10 for 5 ms");
  CHECK_EQUAL(Describe(*Parse({"ITEMS", "1"})), "1 item, block");
  CHECK_EQUAL(Describe(*Parse({"BYTES", "999", "POLICY", "spill", "DIRECTORY", "/tmp/x"})),
              "999 bytes, spill to /tmp/x");
}

void WhatIsWrongWithABoundIsNamed() {
  CHECK_EQUAL(Text(Parse({})), "a bound has ITEMS, BYTES or both");
  CHECK_EQUAL(Text(Parse({"ITEMS"})), "ITEMS lacks its number");
  CHECK_EQUAL(Text(Parse({"ITEMS", "many"})),
              "ITEMS: 'many' is not a whole number from 1 to 1152921504606846976");
  CHECK_EQUAL(Text(Parse({"BYTES", "0"})), "BYTES: '0' is not a whole number from 1 to 1152921504606846976");
  for (const char* huge : {"1152921504606846977", "9223372036854775807", "9223372036854775808",
                           "18446744073709551617", "-1", "inf"})
    CHECK_EQUAL(Text(Parse({"ITEMS", huge})),
                std::string("ITEMS: '") + huge + "' is not a whole number from 1 to 1152921504606846976");
  CHECK_EQUAL(Text(Parse({"ITEMS", "1", "WAIT", "1000000000001"})),
              "WAIT: '1000000000001' is not a whole number from 1 to 1000000000000");
  CHECK_EQUAL(Text(Parse({"COLOUR", "blue"})), "unexpected word 'COLOUR'");
  CHECK_EQUAL(Text(Parse({"ITEMS", "1", "POLICY"})), "POLICY lacks its value");
  CHECK_EQUAL(Text(Parse({"ITEMS", "1", "POLICY", "keep"})),
              "POLICY: 'keep' is none of block, drop_oldest, drop_newest, thin, spill");
  CHECK_EQUAL(Text(Parse({"ITEMS", "1", "POLICY", "thin"})), "the policy thin needs EVERY of at least 2");
  CHECK_EQUAL(Text(Parse({"ITEMS", "1", "EVERY", "2"})), "EVERY belongs to the policy thin");
  CHECK_EQUAL(Text(Parse({"ITEMS", "1", "POLICY", "spill", "DIRECTORY", "here"})),
              "the policy spill needs DIRECTORY with an absolute path");
  CHECK_EQUAL(Text(Parse({"ITEMS", "1", "DIRECTORY", "/tmp"})), "DIRECTORY belongs to the policy spill");
  CHECK_EQUAL(Text(Parse({"ITEMS", "1", "POLICY", "drop_newest", "WAIT", "1"})),
              "WAIT belongs to the policies block and thin");
}

void ATimeoutIsTheLastWord() {
  auto timeout = [](std::vector<std::string_view> words) {
    Arguments arguments(std::move(words));
    return ParseTimeout(&arguments);
  };
  CHECK_EQUAL(*timeout({"X"}), 0);
  CHECK_EQUAL(*timeout({"X", "timeout", "7"}), 7);
  for (std::vector<std::string_view> wrong : {std::vector<std::string_view>{"X", "TIMEOUT"},
                                              {"X", "TIMEOUT", "0"},
                                              {"X", "TIMEOUT", "1000000000001"},
                                              {"X", "TIMEOUT", "9223372036854775808"},
                                              {"X", "TIMEOUT", "inf"},
                                              {"X", "TIMEOUT", "1", "2"},
                                              {"X", "1"}})
    CHECK_EQUAL(Text(timeout(wrong)),
                "TIMEOUT is a whole number from 1 to 1000000000000, ms, and the last word");
}

void RoomIsByItemsAndByBytes() {
  Bound bound{8, 100, Policy::kBlock, 0, "", 0};
  CHECK(HasRoom(bound, {7, 0}, 100));
  CHECK(!HasRoom(bound, {8, 0}, 1));
  CHECK(HasRoom(bound, {1, 60}, 40));
  CHECK(!HasRoom(bound, {1, 60}, 41));
  CHECK(!HasRoom(bound, {1, 60}, std::numeric_limits<int64_t>::max()));
  CHECK(IsFarFromFull(bound, {1, 0}, 25));
  CHECK(!IsFarFromFull(bound, {2, 0}, 1));
  CHECK(!IsFarFromFull(bound, {0, 0}, 26));
  Bound few{3, 0, Policy::kBlock, 0, "", 0};
  CHECK(!IsFarFromFull(few, {0, 0}, 1));  // in a small stream every place counts
}

void OnlyWhatHoldsMemoryGivesRoomWhenItGoes() {
  Bound bound{3, 0, Policy::kDropOldest, 0, "", 0};
  std::array<int64_t, 5> sizes{kReplaced, kSpilled, 10, 20, 30};
  Load load = LoadOf(sizes);
  CHECK_EQUAL(load.items, 3);
  CHECK_EQUAL(load.bytes, 60);
  CHECK_EQUAL(CountToDrop(bound, load, sizes, 5), 3);
  bound = {0, 60, Policy::kDropOldest, 0, "", 0};
  CHECK_EQUAL(CountToDrop(bound, load, sizes, 0), 0);
  CHECK_EQUAL(CountToDrop(bound, load, sizes, 25), 4);
  CHECK_EQUAL(CountToDrop(bound, load, sizes, 61), 5);
}

void EntriesAreRead() {
  auto plain = ParseEntry("{heat_0.1.40}"), prefixed = ParseEntry("out.{heat_0.1.40}");
  CHECK(plain && plain->series == "heat_0.1" && plain->step == 40);
  CHECK(prefixed && prefixed->series == "out.heat_0.1");
  for (auto other : {"", "}", "heat", ".4", "heat.x", "heat.", "heat.-1", "heat.18446744073709551615"})
    CHECK(!ParseEntry(other));
}

void TheIdOfAStreamIsInThePathsOfItsFiles() {
  Meter meter;
  meter.bound.directory = "/scratch";
  CHECK_EQUAL(SpillDirectory(meter), "/scratch");
  meter.id = "00ff";
  CHECK_EQUAL(SpillDirectory(meter), "/scratch/00ff");
}

void AMeterComesBackAsItWasWritten() {
  Meter meter;
  meter.bound = {3, 4, Policy::kSpill, 0, "/tmp/x", 7};
  meter.given = 1;
  meter.items = 5;
  meter.bytes = 6;
  meter.kept_from = 8;
  meter.freed_from = 7;
  meter.skipped = 9;
  auto texts = MeterTexts(meter);
  CHECK_EQUAL(texts.size(), MeterFields().size());
  std::vector<std::optional<std::string>> read(texts.begin(), texts.end());
  Meter again = ParseMeter(read);
  CHECK(MeterTexts(again) == texts);
  CHECK(again.bound == meter.bound);
  for (auto& text : read) text = "garbage";
  CHECK_EQUAL(ParseMeter(read).items, 0);
  read.assign(read.size(), std::nullopt);
  CHECK(ParseMeter(read).bound == Bound());
}

void NobodyWhoEverCameAcknowledgesNothing() {
  Meter meter;
  CHECK_EQUAL(AcknowledgedBy({}, meter, 10), 0);
  meter.left = 1;
  CHECK_EQUAL(AcknowledgedBy({}, meter, 10), 10);
  CHECK_EQUAL(AcknowledgedBy({{"a", 7}, {"b", 3}}, meter, 10), 3);
  CHECK_EQUAL(AcknowledgedBy({{"a", 99}}, meter, 10), 10);
}

void PromisesBelongToClients() {
  Promises promises;
  promises.Make(1, 10, "{a.0.1}");
  promises.Make(2, 20);
  promises.Make(1, 30, "{a.0.2}");
  CHECK_EQUAL(promises.load().items, 2);
  CHECK_EQUAL(promises.load().bytes, 50);
  CHECK_EQUAL(promises.LoadWithout(1).bytes, 20);
  CHECK_EQUAL(promises.LoadWithout(3).bytes, 50);
  CHECK(promises.IsPromised("{a.0.2}"));
  CHECK(!promises.IsPromised("{a.0.1}"));
  CHECK(!promises.IsPromised(""));
  CHECK(promises.End(1));
  CHECK(!promises.End(1));
  CHECK(promises.End(2));
  CHECK_EQUAL(promises.load().items, 0);
  CHECK_EQUAL(promises.load().bytes, 0);
}

void AFullStreamIsDescribed() {
  Meter meter;
  meter.bound = {3, 0, Policy::kBlock, 0, "", 0};
  meter.items = 3;
  meter.bytes = 3000000;
  CHECK_EQUAL(DescribeFull(meter, {}, {}, 5),
              "it keeps 3 snapshots of 3.0 MB in all, its bound is 3 items, block; nobody has subscribed to "
              "it, so nothing is acknowledged");
  CHECK_EQUAL(DescribeFull(meter, {2, 5}, {{"a", 4}, {"b", 2}}, 5),
              "it keeps 3 snapshots of 3.0 MB in all and has promised room for 2 more, its bound is 3 items, "
              "block; its slowest consumer 'b' has acknowledged 2 of 5");
}

void TheMachineHasMemory() { CHECK(MachineBytes() > (64 << 20)); }

}  // namespace

int main() {
  ABoundIsRead();
  WhatIsWrongWithABoundIsNamed();
  ATimeoutIsTheLastWord();
  RoomIsByItemsAndByBytes();
  OnlyWhatHoldsMemoryGivesRoomWhenItGoes();
  EntriesAreRead();
  TheIdOfAStreamIsInThePathsOfItsFiles();
  AMeterComesBackAsItWasWritten();
  NobodyWhoEverCameAcknowledgesNothing();
  PromisesBelongToClients();
  AFullStreamIsDescribed();
  TheMachineHasMemory();
  return penstock::test::Report();
}

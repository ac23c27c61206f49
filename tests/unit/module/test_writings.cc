#include "check.h"
#include "writings.h"

using namespace penstock;

namespace {

const DatasetKey kFirst{0, "{heat.0.0}.meta"}, kSecond{0, "{heat.0.1}.meta"};

std::string Taken(Writings* writings) {
  std::string names;
  for (const DatasetKey& dataset : writings->TakeLeft()) names += dataset.second + " ";
  return names;
}

void WhatAClientLeavesIsTakenAfterATurn() {
  Writings writings;
  writings.Begin(1, kFirst);
  CHECK(!writings.HasLeft());
  writings.GiveUp(1);
  CHECK(writings.HasLeft());
  CHECK_EQUAL(Taken(&writings), "");
  CHECK_EQUAL(Taken(&writings), "{heat.0.0}.meta ");
  CHECK(!writings.HasLeft());
  CHECK_EQUAL(Taken(&writings), "");
}

void WhatWasAnnouncedIsNotTaken() {
  Writings writings;
  writings.Begin(1, kFirst);
  writings.End(kFirst);
  writings.GiveUp(1);
  CHECK(!writings.HasLeft());
  writings.End(kSecond);  // of which nothing is known
  writings.GiveUp(7);
  CHECK(!writings.HasLeft());
}

void WhoBeginsAnotherHasGivenUpTheFirst() {
  Writings writings;
  writings.Begin(1, kFirst);
  writings.Begin(1, kFirst);
  CHECK(!writings.HasLeft());
  writings.Begin(1, kSecond);
  writings.TakeLeft();
  CHECK_EQUAL(Taken(&writings), "{heat.0.0}.meta ");
}

void AClientThatComesBackGoesOn() {
  Writings writings;
  writings.Begin(1, kFirst);
  writings.Begin(2, kFirst);  // the same one, by a new connection
  writings.GiveUp(1);
  CHECK(!writings.HasLeft());
  writings.GiveUp(2);
  writings.TakeLeft();
  writings.Begin(3, kFirst);
  CHECK_EQUAL(Taken(&writings), "");
  writings.GiveUp(3);
  writings.End(kFirst);  // announced by a fourth one
  CHECK(!writings.HasLeft());
}

void DatabasesAreApart() {
  Writings writings;
  writings.Begin(1, kFirst);
  writings.Begin(2, {1, kFirst.second});
  writings.GiveUp(1);
  writings.End({1, kFirst.second});
  writings.TakeLeft();
  auto taken = writings.TakeLeft();
  CHECK_EQUAL(taken.size(), size_t{1});
  CHECK(taken == std::vector{kFirst});
}

void NamesAreUnpacked() {
  using namespace std::string_literals;
  std::string packed = "\x07\x01\0\0\0\0\0\0\0u\x02\0\0\0\0\0\0\0vw"s;
  CHECK(UnpackNames(packed) == (std::vector<std::string>{"u", "vw"}));
  for (size_t length = 0; length < packed.size(); ++length) {
    auto names = UnpackNames(packed.substr(0, length));
    CHECK(names.size() == (length >= 10 ? size_t{1} : size_t{0}));
  }
  CHECK(UnpackNames("\x07\xff\xff\xff\xff\xff\xff\xff\xff"s).empty());
}

}  // namespace

int main() {
  WhatAClientLeavesIsTakenAfterATurn();
  WhatWasAnnouncedIsNotTaken();
  WhoBeginsAnotherHasGivenUpTheFirst();
  AClientThatComesBackGoesOn();
  DatabasesAreApart();
  NamesAreUnpacked();
  return penstock::test::Report();
}

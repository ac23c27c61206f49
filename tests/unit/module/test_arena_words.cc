#include "arena_words.h"
#include "check.h"

using namespace penstock;
using penstock::test::Text;

namespace {

Arguments Words(std::vector<std::string_view> words) {
  words.insert(words.begin(), "PENSTOCK.X");
  return Arguments(std::move(words));
}

void IntroductionsNameAProcess() {
  CHECK_EQUAL(Text(ParseIntroduction(Words({}))), "PID and a process are missing");
  CHECK_EQUAL(Text(ParseIntroduction(Words({"PID"}))), "PID: the number of a process is missing");
  CHECK_EQUAL(Text(ParseIntroduction(Words({"PID", "x"}))), "PID: the number of a process is missing");
  CHECK_EQUAL(Text(ParseIntroduction(Words({"PID", "7", "FORMER"}))), "FORMER is missing");
  CHECK_EQUAL(Text(ParseIntroduction(Words({"PID", "7", "FORMER", "-1"}))),
              "FORMER: '-1' is no whole number below 2^63");
  CHECK_EQUAL(Text(ParseIntroduction(Words({"PID", "7", "more"}))), "unexpected word 'more'");
  CHECK_EQUAL(Text(ParseIntroduction(Words({"PID", "7", "FORMER", "12"}))),
              "FORMER: the id of its arena is missing");
  auto words = ParseIntroduction(Words({"pid", "7", "former", "12", "a0"}));
  CHECK_EQUAL(words->pid, 7);
  CHECK_EQUAL(*words->former, 12u);
  CHECK_EQUAL(words->arena, "a0");
}

void LeasesHaveASizeAndPerhapsATimeout() {
  CHECK_EQUAL(Text(ParseLease(Words({"0"}))), "a lease has one byte at least");
  CHECK_EQUAL(Text(ParseLease(Words({"-1"}))), "the size of a lease: '-1' is no whole number below 2^63");
  CHECK_EQUAL(Text(ParseLease(Words({"18446744073709551616"}))),
              "the size of a lease: '18446744073709551616' is no whole number below 2^63");
  CHECK_EQUAL(Text(ParseLease(Words({"8", "TIMEOUT"}))), "TIMEOUT is missing");
  CHECK_EQUAL(Text(ParseLease(Words({"8", "TIMEOUT", "1e3"}))),
              "TIMEOUT: '1e3' is no whole number below 2^63");
  CHECK_EQUAL(Text(ParseLease(Words({"8", "TIMEOUT", "1000000000001"}))),
              "TIMEOUT: 1000000000001 ms is beyond decades");
  CHECK_EQUAL(Text(ParseLease(Words({"8", "soon"}))), "unexpected word 'soon'");
  auto words = ParseLease(Words({"8", "timeout", "30"}));
  CHECK_EQUAL(words->bytes, 8u);
  CHECK_EQUAL(words->timeout->count(), 30);
  CHECK(!ParseLease(Words({"8"}))->timeout);
}

void PutsHaveAShapeAndALease() {
  const char* shape = "invalid or negative value found in tensor shape";
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLAOT", "1", "OFFSET", "64"}))), "invalid data type");
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "-1", "OFFSET", "64"}))), shape);
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "x", "OFFSET", "64"}))), shape);
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "DOUBLE", "4611686018427387904", "OFFSET", "64"}))), shape);
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "0", "OFFSET", "64"}))),
              "a tensor without elements takes no lease: AI.TENSORSET takes it");
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "STRING", "1", "OFFSET", "64"}))),
              "a STRING tensor cannot lie in the arena: AI.TENSORSET takes it");
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "1", "2"}))), "OFFSET is missing");
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "1", "OFFSET"}))), "OFFSET is missing");
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "1", "OFFSET", "-64"}))),
              "OFFSET: '-64' is no whole number below 2^63");
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "1", "OFFSET", "64", "LEASE"}))),
              "the size of a lease is missing");
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "1", "OFFSET", "64", "LEASE", "0"}))),
              "a lease has one byte at least");
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "1", "OFFSET", "64", "LEASE", "8", "x"}))),
              "unexpected word 'x'");
  auto put = ParseArenaPut(Words({"k", "complex128", "2", "3", "offset", "4096", "lease", "96"}));
  CHECK_EQUAL(put->bytes, 96u);
  CHECK_EQUAL(put->offset, 4096u);
  CHECK_EQUAL(*put->lease, 96u);
  CHECK_EQUAL(put->dims.size(), 2u);
  CHECK(!put->keep);
  put = ParseArenaPut(Words({"k", "FLOAT", "1", "OFFSET", "64", "keep", "LEASE", "8"}));
  CHECK(put->keep);
  CHECK_EQUAL(*put->lease, 8u);
  CHECK_EQUAL(Text(ParseArenaPut(Words({"k", "FLOAT", "1", "OFFSET", "64", "KEEP", "KEEP"}))),
              "unexpected word 'KEEP'");
  CHECK_EQUAL(ParseArenaPut(Words({"k", "DOUBLE", "OFFSET", "64"}))->bytes, 8u);  // a scalar
}

void ReleasesAreOffsets() {
  CHECK_EQUAL(Text(ParseRelease(Words({"64", "x"}))), "an offset: 'x' is no whole number below 2^63");
  CHECK_EQUAL(Text(ParseRelease(Words({"9223372036854775808"}))),
              "an offset: '9223372036854775808' is no whole number below 2^63");
  CHECK_EQUAL(ParseRelease(Words({"64", "128"}))->at(1), 128u);
}

void MapsMayWantTheBytes() {
  CHECK_EQUAL(Text(ParseMap(Words({"k", "VALUES"}))), "unexpected word 'VALUES'");
  CHECK_EQUAL(Text(ParseMap(Words({"k", "BLOB", "BLOB"}))), "unexpected word 'BLOB'");
  CHECK(*ParseMap(Words({"k", "blob"})));
  CHECK(!*ParseMap(Words({"k"})));
}

}  // namespace

int main() {
  IntroductionsNameAProcess();
  LeasesHaveASizeAndPerhapsATimeout();
  PutsHaveAShapeAndALease();
  ReleasesAreOffsets();
  MapsMayWantTheBytes();
  return penstock::test::Report();
}

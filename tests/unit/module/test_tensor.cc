#include <limits>

#include "arguments.h"
#include "check.h"
#include "half.h"
#include "tensor.h"
#include "tensor_values.h"
#include "widening.h"

using namespace penstock;
using penstock::test::Text;

namespace {

Result<TensorPtr> FromBytes(DataType type, std::vector<int64_t> dims, std::string_view bytes) {
  return Tensor::Make(type, std::move(dims), CopyBytes(bytes));
}

void TypesHaveTheirNamesBothWays() {
  for (const char* name : {"FLOAT", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "BOOL",
                           "STRING", "FLOAT16", "BFLOAT16", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128"}) {
    CHECK_EQUAL(std::string(DataTypeName(*ParseDataType(name))), name);
  }
  CHECK(ParseDataType("float") == DataType::kFloat);
  CHECK(!ParseDataType("INT128"));
}

void BytesMustFitShapeAndType() {
  CHECK_EQUAL(Text(FromBytes(DataType::kFloat, {2, 2}, std::string(16, 'x'))), "ok");
  CHECK_EQUAL(Text(FromBytes(DataType::kFloat, {}, std::string(4, 'x'))), "ok");
  CHECK_EQUAL(Text(FromBytes(DataType::kFloat, {0, 5}, "")), "ok");
  const char* wrong = "data length does not match tensor shape and type";
  CHECK_EQUAL(Text(FromBytes(DataType::kFloat, {2, 2}, std::string(15, 'x'))), wrong);
  CHECK_EQUAL(Text(FromBytes(DataType::kDouble, {}, std::string(4, 'x'))), wrong);
  CHECK_EQUAL(Text(FromBytes(DataType::kInt64, {1LL << 61}, "")), wrong);  // 2^64 bytes wrap to none
}

void ShapesThatDoNotFitAreRefused() {
  const char* wrong = "invalid or negative value found in tensor shape";
  CHECK_EQUAL(Text(FromBytes(DataType::kInt8, {-1}, "")), wrong);
  int64_t huge = std::numeric_limits<int64_t>::max();
  CHECK_EQUAL(Text(FromBytes(DataType::kInt8, {huge, huge}, "")), wrong);
  CHECK_EQUAL(Text(Tensor::Zeros(DataType::kInt8, {huge})), "not enough memory for a tensor of this shape");
}

void BoolsAndStringsAreLookedAt() {
  CHECK_EQUAL(Text(FromBytes(DataType::kBool, {2}, std::string_view("\0\1", 2))), "ok");
  CHECK_EQUAL(Text(FromBytes(DataType::kBool, {1}, "\2")), "BOOL tensor elements must be 0 or 1");
  auto strings = FromBytes(DataType::kString, {2}, std::string_view("ab\0c\0", 5));
  CHECK_EQUAL(Text(strings), "ok");
  CHECK_EQUAL((*strings)->StringOffsets()[1], 3u);
  CHECK_EQUAL(StringsOf(**strings)[1], "c");
  const char* wrong = "Number of string elements in data blob does not match tensor length";
  CHECK_EQUAL(Text(FromBytes(DataType::kString, {2}, std::string_view("ab\0", 3))), wrong);
  CHECK_EQUAL(Text(FromBytes(DataType::kString, {1}, std::string_view("ab\0c", 4))), wrong);
}

void ZerosAreZero() {
  auto zeros = Tensor::Zeros(DataType::kInt32, {3});
  CHECK((*zeros)->bytes() == std::string(12, '\0'));
  CHECK_EQUAL((*zeros)->BatchSize(), 3);
}

void EveryByteCountsAsMemory() {
  auto tensor = Tensor::Zeros(DataType::kDouble, {1000});
  CHECK((*tensor)->MemoryBytes() >= 8000);
}

void ValuesAreCheckedAndReadBack() {
  auto tensor = TensorFromValues(DataType::kFloat, {2}, {"1.5", "-2"});
  CHECK(std::get<double>(NumberAt(**tensor, 0)) == 1.5);
  CHECK(std::get<double>(NumberAt(**tensor, 1)) == -2.0);
  auto small = TensorFromValues(DataType::kInt8, {1}, {"-128"});
  CHECK(std::get<int64_t>(NumberAt(**small, 0)) == -128);
  CHECK_EQUAL(Text(TensorFromValues(DataType::kInt8, {1}, {"128"})), "invalid value");
  CHECK_EQUAL(Text(TensorFromValues(DataType::kUint8, {1}, {"-1"})), "invalid value");
  CHECK_EQUAL(Text(TensorFromValues(DataType::kFloat, {1}, {"A"})), "invalid value");
  CHECK_EQUAL(Text(TensorFromValues(DataType::kBool, {1}, {"2"})), "BOOL tensor elements must be 0 or 1");
  CHECK_EQUAL(Text(TensorFromValues(DataType::kFloat, {2}, {"1"})),
              "wrong number of values was given in 'AI.TENSORSET' command");
  CHECK_EQUAL(Text(TensorFromValues(DataType::kString, {1}, {std::string_view("a\0b", 3)})),
              "C-string value contains null character");
}

// Every finite half is its own nearest half; so is every bfloat16.
void HalvesSurviveTheWayThereAndBack() {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    auto half = static_cast<uint16_t>(bits);
    bool nan = (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0;
    if (!nan) CHECK_EQUAL(ToHalf(FromHalf(half)), half);
    bool bfloat_nan = (bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0;
    if (!bfloat_nan) CHECK_EQUAL(ToBfloat16(FromBfloat16(half)), half);
  }
  CHECK(FromHalf(0x7e00) != FromHalf(0x7e00));
  CHECK_EQUAL(FromHalf(0x7bff), 65504.0f);
  CHECK_EQUAL(ToHalf(65520), 0x7c00);
  CHECK_EQUAL(ToHalf(1 + 0x1p-11), 0x3c00);  // a tie
  CHECK_EQUAL(ToHalf(1 + 0x1p-11 + 0x1p-40), 0x3c01);
  CHECK_EQUAL(ToBfloat16(1 + 0x1p-8), 0x3f80);
  CHECK_EQUAL(ToBfloat16(1 + 0x1.8p-7), 0x3f82);
  CHECK_EQUAL(ToBfloat16(-1e300), 0xff80);
}

void ComplexNumbersAreReadAsPythonWritesThem() {
  auto same = [](std::string_view text, double real, double imaginary) {
    auto value = ParseComplex(text);
    CHECK(value && value->real() == real && value->imag() == imaginary);
  };
  same("1+2j", 1, 2);
  same("(1.5-2e-3j)", 1.5, -2e-3);
  same("1e+5j", 0, 1e5);
  same("-1e-5", -1e-5, 0);
  same("-3j", 0, -3);
  for (const char* text : {"", "j", "()", "1+j", "1+2", "1+-2j", "--2j", "1+2i", "(1+2j", "1+2j)", "e+1j"}) {
    CHECK(!ParseComplex(text));
  }
}

void WhatHasNoExactWiderTypeIsRefused() {
  int64_t dims[] = {2};
  uint32_t numbers[] = {1, 4000000000u};
  auto wide = Widen({DataType::kUint32, dims, 1, numbers, sizeof numbers});
  CHECK_EQUAL(Text(wide), "ok");
  CHECK(wide->type == DataType::kInt64 && wide->bytes.size() == 16);
  for (DataType type : {DataType::kUint64, DataType::kComplex64, DataType::kComplex128}) {
    CHECK(IsNewType(type));
    CHECK(!Widen({type, dims, 1, numbers, sizeof numbers}).ok());
  }
  CHECK(!IsNewType(DataType::kString));
}

}  // namespace

int main() {
  TypesHaveTheirNamesBothWays();
  BytesMustFitShapeAndType();
  ShapesThatDoNotFitAreRefused();
  BoolsAndStringsAreLookedAt();
  ZerosAreZero();
  EveryByteCountsAsMemory();
  ValuesAreCheckedAndReadBack();
  HalvesSurviveTheWayThereAndBack();
  ComplexNumbersAreReadAsPythonWritesThem();
  WhatHasNoExactWiderTypeIsRefused();
  return penstock::test::Report();
}

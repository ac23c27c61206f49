// FLOAT16 and BFLOAT16 as bits, to and from the numbers the processor knows.
#pragma once

#include <cstdint>

namespace penstock {

/// Rounded to the nearest, ties to even, in one step; infinite beyond the largest.
uint16_t ToHalf(double value);
uint16_t ToBfloat16(double value);
float FromHalf(uint16_t bits);
float FromBfloat16(uint16_t bits);

}  // namespace penstock

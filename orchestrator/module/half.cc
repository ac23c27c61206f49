#include "half.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace penstock {
namespace {

// `value` with `digits` binary digits, fewer below 2^`least`. The processor rounds ties to even.
double Round(double value, int digits, int least) {
  if (!std::isfinite(value) || value == 0) return value;
  int unit = std::max(std::ilogb(value), least) - (digits - 1);
  return std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
}

}  // namespace

uint16_t ToHalf(double value) {
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return sign | 0x7e00;
  double size = std::abs(Round(value, 11, -14));
  if (size >= 0x1p16) return sign | 0x7c00;
  if (size < 0x1p-14) return sign | static_cast<uint16_t>(size * 0x1p24);
  int exponent = std::ilogb(size);
  auto fraction = static_cast<uint16_t>(std::ldexp(size, 10 - exponent) - 1024);
  return static_cast<uint16_t>(sign | (exponent + 15) << 10 | fraction);
}

uint16_t ToBfloat16(double value) {
  double rounded = Round(value, 8, -126);
  if (std::abs(rounded) >= 0x1p128) rounded = std::copysign(INFINITY, rounded);
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(rounded)) >> 16);
}

float FromHalf(uint16_t bits) {
  uint32_t sign = (bits & 0x8000u) << 16;
  uint32_t rest = (bits & 0x7fffu) << 13;
  bool finite = rest < 0x0f800000u;
  // What is left between the two exponents' zeros; exact, also for the smallest.
  if (finite) rest = std::bit_cast<uint32_t>(std::bit_cast<float>(rest) * 0x1p112f);
  return std::bit_cast<float>(sign | rest | (finite ? 0u : 0x7f800000u));
}

float FromBfloat16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

}  // namespace penstock

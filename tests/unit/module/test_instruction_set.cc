#include "check.h"
#include "instruction_set.h"

using namespace penstock;
using penstock::test::Report;

int main() {
  const std::string avx2 = " fpu avx2 fma f16c ";
  const std::string avx512 = avx2 + "avx512f avx512bw avx512dq avx512vl amx_tile ";
  CHECK_EQUAL(MissingInstructionSet("", " "), "");
  CHECK_EQUAL(MissingInstructionSet("AVX2", avx2), "");
  CHECK_EQUAL(MissingInstructionSet("AVX2", " fpu avx2 "), "AVX2");  // fma belongs to it
  CHECK_EQUAL(MissingInstructionSet("AVX512", avx512), "");
  CHECK_EQUAL(MissingInstructionSet("AVX512", avx2), "AVX512");
  CHECK_EQUAL(MissingInstructionSet("AVX512", avx2 + "avx512f avx512bw avx512dq "), "AVX512");
  CHECK_EQUAL(MissingInstructionSet("AVX512 AMX_TILE", avx512), "");
  CHECK_EQUAL(MissingInstructionSet("AVX512 AMX_TILE AVX512_VNNI", avx512), "AVX512_VNNI");
  CHECK_EQUAL(MissingInstructionSet("SVE256", " fp asimd sve "), "");
  CHECK_EQUAL(MissingInstructionSet("SVE256", " fp asimd "), "SVE256");
  return Report();
}

#include "run_words.h"

namespace penstock {

Result<int64_t> ParseTimeout(Arguments* words, const char* missing) {
  if (words->done()) return Status::Error(missing);
  auto value = words->NextInteger();
  if (!value || *value <= 0) return Status::Error("Invalid value for TIMEOUT");
  return *value;
}

}  // namespace penstock

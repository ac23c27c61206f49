// A small check for the unit tests of the module's cores: CHECK(condition) and CHECK_EQUAL(got, wanted).
#pragma once

#include <cstdlib>
#include <iostream>

#include "status.h"

namespace penstock::test {

inline int failures = 0;

inline std::ostream& Fail(const char* file, int line) {
  ++failures;
  return std::cerr << file << ":" << line << ": ";
}

template <class Got, class Wanted>
void CheckEqual(const Got& got, const Wanted& wanted, const char* what, const char* file, int line) {
  if (!(got == wanted)) Fail(file, line) << what << " is '" << got << "', not '" << wanted << "'\n";
}

/// The error's text, or `ok`.
template <class T>
std::string Text(const Result<T>& result) {
  return result.ok() ? "ok" : result.status().text();
}

inline int Report() {
  if (failures > 0) std::cerr << failures << " checks failed\n";
  return failures > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace penstock::test

#define CHECK(condition) \
  if (!(condition)) penstock::test::Fail(__FILE__, __LINE__) << "not true: " #condition "\n"
#define CHECK_EQUAL(got, wanted) penstock::test::CheckEqual((got), (wanted), #got, __FILE__, __LINE__)

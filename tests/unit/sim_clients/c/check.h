// A small check for the unit tests of libpenstock.
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      failures++;                                                               \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                           \
  } while (0)

#define CHECK_TEXT(got, wanted)                                                                  \
  do {                                                                                           \
    const char *got_ = (got), *wanted_ = (wanted);                                               \
    if (strcmp(got_, wanted_)) {                                                                 \
      failures++;                                                                                \
      fprintf(stderr, "%s:%d: %s is '%s', not '%s'\n", __FILE__, __LINE__, #got, got_, wanted_); \
    }                                                                                            \
  } while (0)

static inline int report(void) { return failures ? EXIT_FAILURE : EXIT_SUCCESS; }

// Numbers that look random and are the same on every machine (Knuth's MMIX).
static unsigned long long drawn = 1;
static inline unsigned draw(unsigned below) {
  drawn = drawn * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(drawn >> 33) % below;
}

#endif

// What a caller says of a version is checked before it is kept: an object in JSON whose known members have
// the types that sim_clients/registry.py reads. Others may be anything.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kDeepest = 32 };

static const double kYear10000 = 253402300800.0;  // s

// What a value has to be.
typedef enum kind { ANYTHING, NUMBER, WHOLE, TIME, TEXT, NUMBERS } kind;

static const struct {
  const char* name;
  kind kind;
} kMembers[] = {{"loss", NUMBER},  {"metrics", NUMBERS}, {"samples", WHOLE},
                {"steps", WHOLE},  {"git_commit", TEXT}, {"format", TEXT},
                {"parent", WHOLE}, {"bytes", WHOLE},     {"unix_time", TIME}};

static const char* value(const char* at, kind wanted, int deep);

static const char* blank(const char* at) { return at + strspn(at, " \t\n\r"); }

// Each returns what is behind it, NULL where it is none.
static const char* string(const char* at) {
  if (*at++ != '"') return NULL;
  for (; *at != '"'; at++) {
    if ((unsigned char)*at < 0x20) return NULL;
    if (*at != '\\') continue;
    at++;
    if (*at == 'u') {
      if (strspn(at + 1, "0123456789abcdefABCDEF") < 4) return NULL;
      at += 4;
    } else if (!*at || !strchr("\"\\/bfnrt", *at)) {
      return NULL;
    }
  }
  return at + 1;
}

static const char* digits(const char* at) {
  size_t count = strspn(at, "0123456789");
  return count ? at + count : NULL;
}

static const char* number(const char* at, kind wanted) {
  const char* begin = at;
  if (*at == '-') at++;
  const char* whole = *at == '0' ? at + 1 : digits(at);
  if (!whole) return NULL;
  const char* end = whole;
  if (*end == '.' && !(end = digits(end + 1))) return NULL;
  if (*end == 'e' || *end == 'E') {
    end++;
    if (*end == '+' || *end == '-') end++;
    if (!(end = digits(end))) return NULL;
  }
  if (wanted == ANYTHING) return end;
  if (wanted == WHOLE) return end == whole && *begin != '-' && whole - begin <= 18 ? end : NULL;
  double read = strtod(begin, NULL);
  if (wanted == TIME) return read >= 0 && read < kYear10000 ? end : NULL;
  return isfinite(read) ? end : NULL;
}

static kind kind_of(const char* name, size_t length) {
  for (size_t i = 0; i < sizeof kMembers / sizeof *kMembers; i++)
    if (strlen(kMembers[i].name) == length && !memcmp(kMembers[i].name, name, length))
      return kMembers[i].kind;
  return ANYTHING;
}

// The members or elements between a pair of brackets. `outer`: each member is what its name says.
static const char* inside(const char* at, char close, kind wanted, int outer, int deep) {
  at = blank(at + 1);
  if (*at == close) return at + 1;
  for (;;) {
    kind one = wanted;
    if (close == '}') {
      const char* name = at + 1;
      if (!(at = string(at))) return NULL;
      if (outer) one = kind_of(name, (size_t)(at - 1 - name));
      at = blank(at);
      if (*at++ != ':') return NULL;
    }
    if (!(at = value(blank(at), one, deep + 1))) return NULL;
    at = blank(at);
    if (*at == close) return at + 1;
    if (*at++ != ',') return NULL;
    at = blank(at);
  }
}

static const char* value(const char* at, kind wanted, int deep) {
  if (deep > kDeepest) return NULL;
  if (!strncmp(at, "null", 4)) return wanted == NUMBERS ? NULL : at + 4;
  if (*at == '"') return wanted == ANYTHING || wanted == TEXT ? string(at) : NULL;
  if (*at == '{' && (wanted == ANYTHING || wanted == NUMBERS))
    return inside(at, '}', wanted == NUMBERS ? NUMBER : ANYTHING, 0, deep);
  if (*at == '[' && wanted == ANYTHING) return inside(at, ']', ANYTHING, 0, deep);
  if (*at == 't' && wanted == ANYTHING) return strncmp(at, "true", 4) ? NULL : at + 4;
  if (*at == 'f' && wanted == ANYTHING) return strncmp(at, "false", 5) ? NULL : at + 5;
  return wanted == TEXT || wanted == NUMBERS ? NULL : number(at, wanted);
}

int psk_check_model_about(penstock_client* client, const char* name, const char* text) {
  const char* end = *text == '{' ? inside(text, '}', ANYTHING, 1, 0) : NULL;
  if (end && !*end) return 0;
  return psk_fail(
      client, PENSTOCK_MODEL_REJECTED, name,
      "what is known of it is an object in JSON, and its loss, metrics, samples, steps, git_commit "
      "and format are numbers and texts; got '%.60s'",
      text);
}

// What SmartRedis keeps about a dataset beside its tensors: lists of numbers or strings, each under a name,
// packed as one byte of type and the values, strings as their length (64 bit) and their bytes. Little-endian
// throughout.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kString = 7 };

static const struct {
  char code;
  penstock_dtype dtype;
} kTypes[] = {{1, PENSTOCK_FLOAT64}, {2, PENSTOCK_FLOAT32}, {3, PENSTOCK_INT32},
              {4, PENSTOCK_INT64},   {5, PENSTOCK_UINT32},  {6, PENSTOCK_UINT64}};

enum { kTypesEnd = sizeof kTypes / sizeof *kTypes };

static char code_of(penstock_dtype dtype) {
  for (int i = 0; i < kTypesEnd; i++)
    if (kTypes[i].dtype == dtype) return kTypes[i].code;
  return 0;
}

penstock_dtype psk_packed_dtype(const psk_bytes* packed) {
  for (int i = 0; packed->used && i < kTypesEnd; i++)
    if (kTypes[i].code == packed->at[0]) return kTypes[i].dtype;
  return (penstock_dtype)0;
}

const psk_metadata* psk_find_metadata(const psk_metadata_list* list, const char* name) {
  for (int i = 0; i < list->count; i++)
    if (!strcmp(list->of[i].name, name)) return &list->of[i];
  return NULL;
}

// The list of a name, a new one where there is none. NULL: no memory.
static psk_metadata* named(psk_metadata_list* list, const char* name) {
  const psk_metadata* found = psk_find_metadata(list, name);
  if (found) return &list->of[found - list->of];
  psk_metadata* more = realloc(list->of, (size_t)(list->count + 1) * sizeof *more);
  if (!more) return NULL;
  list->of = more;
  psk_metadata* made = &more[list->count];
  *made = (psk_metadata){.name = strdup(name)};
  if (!made->name) return NULL;
  list->count++;
  return made;
}

// A list keeps one type.
static int begin_value(psk_metadata* one, char code) {
  if (one->packed.used) return one->packed.at[0] == code ? 0 : PENSTOCK_INVALID;
  return psk_append(&one->packed, &code, 1);
}

int psk_add_scalar(psk_metadata_list* list, const char* name, penstock_dtype dtype, const void* value) {
  char code = code_of(dtype);
  if (!code) return PENSTOCK_INVALID;
  psk_metadata* one = named(list, name);
  if (!one) return PENSTOCK_MEMORY;
  int status = begin_value(one, code);
  return status ? status : psk_append(&one->packed, value, penstock_dtype_size(dtype));
}

int psk_add_string(psk_metadata_list* list, const char* name, const char* value) {
  psk_metadata* one = named(list, name);
  if (!one) return PENSTOCK_MEMORY;
  uint64_t length = strlen(value);
  int status = begin_value(one, kString);
  if (!status) status = psk_append(&one->packed, &length, sizeof length);
  return status ? status : psk_append(&one->packed, value, length);
}

const char* psk_packed_string(const psk_bytes* packed, int i, size_t* length) {
  if (i < 0 || !packed->used || packed->at[0] != kString) return NULL;
  size_t at = 1;
  for (;; i--) {
    uint64_t bytes;
    if (packed->used - at < sizeof bytes) return NULL;
    memcpy(&bytes, packed->at + at, sizeof bytes);
    at += sizeof bytes;
    if (bytes > packed->used - at) return NULL;
    if (i == 0) {
      *length = bytes;
      return packed->at + at;
    }
    at += bytes;
  }
}

char** psk_packed_strings(const psk_bytes* packed, int* count) {
  size_t length;
  *count = 0;
  while (psk_packed_string(packed, *count, &length)) ++*count;
  char** texts = calloc((size_t)*count + 1, sizeof *texts);
  for (int i = 0; texts && i < *count; i++) {
    const char* text = psk_packed_string(packed, i, &length);
    texts[i] = strndup(text, length);
    if (!texts[i]) {
      psk_free_strings(texts, *count);
      return NULL;
    }
  }
  return texts;
}

void psk_free_strings(char** texts, int count) {
  for (int i = 0; texts && i < count; i++) free(texts[i]);
  free(texts);
}

void psk_free_metadata(psk_metadata_list* list) {
  for (int i = 0; i < list->count; i++) {
    free(list->of[i].name);
    free(list->of[i].packed.at);
  }
  free(list->of);
  *list = (psk_metadata_list){0};
}

// ---- Reading them

static int read_value(penstock_client* client, psk_link* link, psk_bytes* packed, const psk_token* token) {
  if (token->kind != '$') return psk_garbage(client, link, "metadata");
  size_t length = token->number > 0 ? (size_t)token->number : 0;
  free(packed->at);
  *packed = (psk_bytes){malloc(length + 1), length, length + 1};
  if (packed->at) return token->number < 0 ? 0 : psk_body(client, link, token, packed->at);
  packed->used = packed->room = 0;
  int status = psk_pass(client, link, token);
  return status ? status : psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for metadata");
}

static int read_pair(penstock_client* client, psk_link* link, psk_metadata_list* list) {
  char name[512];
  psk_token token;
  int status = psk_next(client, link, &token);
  if (!status) status = psk_body_text(client, link, &token, name, sizeof name);
  if (!status) status = psk_next(client, link, &token);
  if (status) return status;
  psk_metadata* one = named(list, name);
  if (one) return read_value(client, link, &one->packed, &token);
  status = psk_pass(client, link, &token);
  return status ? status : psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for metadata");
}

int psk_reply_metadata(penstock_client* client, psk_link* link, psk_command* command,
                       const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '*') return psk_garbage(client, link, "metadata");
  psk_metadata_list* list = command->context;
  psk_free_metadata(list);
  int64_t pairs = token->number / 2;
  int status = 0;
  for (int64_t i = 0; i < pairs && status != PSK_BROKEN; i++) {
    int now = read_pair(client, link, list);
    if (now) status = now;
  }
  return status;
}

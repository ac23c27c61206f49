// The contract of a stream: what its fields are, agreed on once by all who put snapshots in it.
//
// The first snapshot of a stream fixes it, whoever's it is: SET NX puts a text in the stream's slot, and
// whoever comes later reads that text instead, once for each client and stream. It is a line for whose
// snapshot that was and one for each field, sorted by name:
//
//   since heat_0.0.0
//   T: float32 (128, 128) in blocks, K, dims y x
//   u: float64 (64, 64)
//
// The shape of a field in blocks is that of the global array, so that ranks whose blocks differ agree. Two
// fields are the same where their lines are, which is why units have no commas. sim_clients/contract.py
// writes the same.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kShapeRoom = 1600 };

// ---- Its text

static int append(psk_bytes* text, const char* more) { return psk_append(text, more, strlen(more)); }

static int append_field(psk_bytes* text, const penstock_field* field, const penstock_about* about) {
  char shape[kShapeRoom];
  psk_describe(shape, sizeof shape, field->array.dtype, field->array.rank,
               about->shape ? about->shape : field->array.dims);
  int status = append(text, "\n") || append(text, field->name) || append(text, ": ") || append(text, shape);
  if (!status && about->shape) status = append(text, " in blocks");
  if (!status && about->units) status = append(text, ", ") || append(text, about->units);
  for (int i = 0; !status && about->dims && i < about->rank; i++)
    status = append(text, i ? " " : ", dims ") || append(text, about->dims[i]);
  return status;
}

typedef struct told {
  const penstock_field* field;
  const penstock_about* about;
} told;

static int by_name(const void* one, const void* other) {
  return strcmp(((const told*)one)->field->name, ((const told*)other)->field->name);
}

// Terminated, to be freed. NULL: no memory. Sorts the fields.
static char* text_of(const char* snapshot, told* fields, int count) {
  psk_bytes text = {0};
  int status = append(&text, "since ") || append(&text, snapshot);
  qsort(fields, (size_t)count, sizeof *fields, by_name);
  for (int i = 0; !status && i < count; i++) status = append_field(&text, fields[i].field, fields[i].about);
  if (!status) status = psk_append(&text, "", 1);
  if (!status) return text.at;
  free(text.at);
  return NULL;
}

char* psk_contract_text(const penstock_client* client, const char* stream, const char* snapshot,
                        const penstock_field* fields, int count) {
  told* all = calloc((size_t)count, sizeof *all);
  for (int i = 0; all && i < count; i++)
    all[i] = (told){&fields[i], psk_about(client, stream, fields[i].name)};
  char* text = all ? text_of(snapshot, all, count) : NULL;
  free(all);
  return text;
}

// The same of what was read.
static char* text_of_found(const penstock_client* client, const char* snapshot) {
  int count = client->n_found;
  told* all = calloc((size_t)count + 1, sizeof *all);
  penstock_field* fields = calloc((size_t)count + 1, sizeof *fields);
  for (int i = 0; all && fields && i < count; i++) {
    const penstock_found* one = &client->found_fields[i];
    fields[i].name = one->name;
    fields[i].array =
        (penstock_array){.dtype = one->info.dtype, .rank = one->info.rank, .dims = one->info.dims};
    all[i] = (told){&fields[i], &one->about};
  }
  char* text = all && fields ? text_of(snapshot, all, count) : NULL;
  free(fields);
  free(all);
  return text;
}

// A line of a contract, up to its end. `name` is what stands before ": ", `type` what stands behind.
typedef struct line {
  const char *name, *type;
  int name_length, type_length;
} line;

// Read the line at `at`, and return where the next one begins, or NULL: there is none, or it is no line of a
// field.
static const char* read_line(const char* at, line* found) {
  size_t length = strcspn(at, "\n"), name = strcspn(at, ":\n");
  if (name == 0 || name + 2 >= length || strncmp(at + name, ": ", 2)) return NULL;
  *found = (line){at, at + name + 2, (int)name, (int)(length - name - 2)};
  return at + length + (at[length] == '\n');
}

// Where the lines of fields begin.
static const char* first_line(const char* contract) {
  const char* end = strchr(contract, '\n');
  return end ? end + 1 : contract + strlen(contract);
}

static int find_line(const char* contract, const line* like, line* found) {
  const char* at = first_line(contract);
  while (*at && (at = read_line(at, found)))
    if (found->name_length == like->name_length &&
        !memcmp(found->name, like->name, (size_t)like->name_length))
      return 1;
  return 0;
}

static int is_contract(const char* text) {
  line one;
  if (strncmp(text, "since ", 6) || strcspn(text, "\n") < 7) return 0;
  const char* at = first_line(text);
  if (!*at) return 0;
  while (at && *at) at = read_line(at, &one);
  return at != NULL;
}

// "p, u", for an error. To be freed.
static char* names_of(const char* contract) {
  psk_bytes names = {0};
  line one;
  int status = 0;
  for (const char* at = first_line(contract); !status && *at && (at = read_line(at, &one));)
    status = (names.used ? append(&names, ", ") : 0) || psk_append(&names, one.name, (size_t)one.name_length);
  if (!status && !psk_append(&names, "", 1)) return names.at;
  free(names.at);
  return NULL;
}

// ---- Comparing

int psk_contract_differs(penstock_client* client, const char* stream, const char* snapshot,
                         const char* agreed, const char* mine) {
  int since = (int)strcspn(agreed, "\n") - 6;
  line theirs, ours;
  for (const char* at = first_line(agreed); *at && (at = read_line(at, &theirs));) {
    if (!find_line(mine, &theirs, &ours))
      return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                      "the field '%.*s' is missing; the stream '%s' has it as %.*s since %.*s",
                      theirs.name_length, theirs.name, stream, theirs.type_length, theirs.type, since,
                      agreed + 6);
  }
  for (const char* at = first_line(mine); *at && (at = read_line(at, &ours));) {
    if (!find_line(agreed, &ours, &theirs)) {
      char* names = names_of(agreed);
      int status = psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                            "the field '%.*s' is new, %.*s; the stream '%s' has %s since %.*s",
                            ours.name_length, ours.name, ours.type_length, ours.type, stream,
                            names ? names : "others", since, agreed + 6);
      free(names);
      return status;
    }
    if (ours.type_length != theirs.type_length || memcmp(ours.type, theirs.type, (size_t)ours.type_length))
      return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                      "the field '%.*s' is %.*s; the stream '%s' has %.*s since %.*s", ours.name_length,
                      ours.name, ours.type_length, ours.type, stream, theirs.type_length, theirs.type, since,
                      agreed + 6);
  }
  return 0;
}

// ---- Agreeing

int64_t psk_contract_mark(const char* text) {
  const uint64_t basis = 0xcbf29ce484222325u, prime = 0x100000001b3u;  // FNV-1a
  uint64_t hash = basis;
  for (const char* at = text; *at; at++) hash = (hash ^ (unsigned char)*at) * prime;
  return (int64_t)(hash & (((uint64_t)1 << 50) - 1));
}

static void ask(penstock_client* client, const char* stream, char** text) {
  psk_command_begin(client, 2, psk_reply_text, text);
  psk_word(client, "GET");
  psk_contract_key(client, stream);
}

static int check_contract(penstock_client* client, const char* stream, const char* text) {
  if (!text || is_contract(text)) return 0;
  return psk_fail(client, PENSTOCK_SNAPSHOT, stream, "what the stream keeps as its contract is none: '%.60s'",
                  text);
}

// Offer a contract, and receive the one that holds.
int psk_contract_agree(penstock_client* client, const char* stream, const char* mine, char** agreed) {
  psk_again(client);
  psk_command_begin(client, 4, psk_reply_ignored, NULL);
  psk_word(client, "SET");
  psk_contract_key(client, stream);
  psk_word(client, mine);
  psk_word(client, "NX");
  ask(client, stream, agreed);
  int status = psk_run(client);
  psk_again(client);
  if (!status && !*agreed)
    status = psk_fail(client, PENSTOCK_SNAPSHOT, stream, "the stream was forgotten while it began");
  return status ? status : check_contract(client, stream, *agreed);
}

int psk_contract_check_found(penstock_client* client, const char* stream, const char* snapshot) {
  char* agreed = NULL;
  psk_again(client);
  ask(client, stream, &agreed);
  int status = psk_run(client);
  psk_again(client);
  if (!status) status = check_contract(client, stream, agreed);
  char* mine = !status && agreed ? text_of_found(client, snapshot) : NULL;
  if (!status && agreed)
    status = mine ? psk_contract_differs(client, stream, snapshot, agreed, mine)
                  : psk_fail(client, PENSTOCK_MEMORY, snapshot, "no memory for a contract");
  free(mine);
  free(agreed);
  return status;
}

int penstock_contract(penstock_client* client, const char* stream, const char** text) {
  psk_begin(client, "ask for the contract of stream", stream);
  int status = psk_check_name(client, "stream", stream);
  char* found = NULL;
  if (!status) {
    ask(client, stream, &found);
    status = psk_run(client);
  }
  if (!status) status = check_contract(client, stream, found);
  if (status) {
    free(found);
    return status;
  }
  free(client->found);
  client->found = found;
  *text = found;
  return 0;
}

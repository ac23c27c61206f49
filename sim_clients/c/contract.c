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
//
// A series is what this client has put in one stream: the contract, its own first snapshot (its blocks must
// stay where they are) and the last step. A snapshot that looks like that first one costs no text and no
// round trip.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kShapeRoom = 1600 };

typedef struct layout {
  char* name;
  penstock_array array;  // dtype, rank and dims alone
  int64_t dims[PENSTOCK_MAX_RANK];
  penstock_about about;
} layout;

struct psk_series {
  psk_series* next;
  char* stream;
  char* contract;
  int64_t last_step;
  layout* fields;
  int count;
};

static void free_one(psk_series* series) {
  for (int i = 0; series->fields && i < series->count; i++) {
    free(series->fields[i].name);
    psk_free_about(&series->fields[i].about);
  }
  free(series->fields);
  free(series->contract);
  free(series->stream);
  free(series);
}

void psk_free_series(psk_series* series) {
  while (series) {
    psk_series* next = series->next;
    free_one(series);
    series = next;
  }
}

static psk_series* find_series(const penstock_client* client, const char* stream) {
  for (psk_series* one = client->series; one; one = one->next)
    if (!strcmp(one->stream, stream)) return one;
  return NULL;
}

void psk_forget_series(penstock_client* client, const char* stream) {
  for (psk_series** at = &client->series; *at; at = &(*at)->next) {
    if (strcmp((*at)->stream, stream)) continue;
    psk_series* one = *at;
    *at = one->next;
    free_one(one);
    return;
  }
}

static psk_series* new_series(const char* stream, const penstock_client* client, const penstock_field* fields,
                              int count) {
  psk_series* made = calloc(1, sizeof *made);
  if (!made) return NULL;
  made->last_step = -1;
  made->stream = strdup(stream);
  made->fields = calloc((size_t)count, sizeof *made->fields);
  int good = made->stream && made->fields;
  for (int i = 0; good && i < count; i++) {
    layout* one = &made->fields[made->count++];
    memcpy(one->dims, fields[i].array.dims, (size_t)fields[i].array.rank * sizeof *one->dims);
    one->array = fields[i].array;
    one->array.dims = one->dims;
    one->name = strdup(fields[i].name);
    good = one->name && !psk_copy_about(&one->about, psk_about(client, stream, fields[i].name));
  }
  if (good) return made;
  free_one(made);
  return NULL;
}

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

static int by_name(const void* one, const void* other) {
  return strcmp((*(const penstock_field* const*)one)->name, (*(const penstock_field* const*)other)->name);
}

// The contract that a snapshot would begin, terminated; to be freed. NULL: no memory.
static char* text_of(const penstock_client* client, const char* stream, const char* snapshot,
                     const penstock_field* fields, int count) {
  const penstock_field** sorted = calloc((size_t)count, sizeof *sorted);
  psk_bytes text = {0};
  int status = sorted ? append(&text, "since ") || append(&text, snapshot) : PENSTOCK_MEMORY;
  for (int i = 0; sorted && i < count; i++) sorted[i] = &fields[i];
  if (sorted) qsort(sorted, (size_t)count, sizeof *sorted, by_name);
  for (int i = 0; !status && i < count; i++)
    status = append_field(&text, sorted[i], psk_about(client, stream, sorted[i]->name));
  if (!status) status = psk_append(&text, "", 1);
  free(sorted);
  if (!status) return text.at;
  free(text.at);
  return NULL;
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

static int differs(penstock_client* client, const char* stream, const char* snapshot, const char* agreed,
                   const char* mine) {
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

static const layout* find_layout(const psk_series* series, const char* name, int likely) {
  if (likely < series->count && !strcmp(series->fields[likely].name, name)) return &series->fields[likely];
  for (int i = 0; i < series->count; i++)
    if (!strcmp(series->fields[i].name, name)) return &series->fields[i];
  return NULL;
}

static int same_shape(const penstock_array* one, const penstock_array* other) {
  return one->rank == other->rank && !memcmp(one->dims, other->dims, (size_t)one->rank * sizeof *one->dims);
}

static int as_before(const penstock_client* client, const psk_series* series, const penstock_field* fields,
                     int count) {
  if (count != series->count) return 0;
  for (int i = 0; i < count; i++) {
    const layout* was = find_layout(series, fields[i].name, i);
    if (!was || was->array.dtype != fields[i].array.dtype || !same_shape(&was->array, &fields[i].array) ||
        !psk_same_about(&was->about, psk_about(client, series->stream, fields[i].name)))
      return 0;
  }
  return 1;
}

// All agree on the fields, and this rank's blocks stay where they are.
static int check_against(penstock_client* client, const psk_series* series, const char* snapshot,
                         const penstock_field* fields, int count) {
  if (as_before(client, series, fields, count)) return 0;
  char* mine = text_of(client, series->stream, snapshot, fields, count);
  if (!mine) return psk_fail(client, PENSTOCK_MEMORY, snapshot, "no memory for a contract");
  int status = differs(client, series->stream, snapshot, series->contract, mine);
  free(mine);
  for (int i = 0; !status && i < count; i++) {
    const penstock_about* about = psk_about(client, series->stream, fields[i].name);
    const layout* was = find_layout(series, fields[i].name, i);
    if (was && same_shape(&was->array, &fields[i].array) && psk_same_block(&was->about, about)) continue;
    char now[600], before[600];
    status = psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                      "the block of the field '%s' is %s, it was %s in the first snapshot of this rank",
                      fields[i].name, psk_block_text(now, sizeof now, &fields[i].array, about),
                      was ? psk_block_text(before, sizeof before, &was->array, &was->about) : "not there");
  }
  return status;
}

// ---- Agreeing

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
static int agree(penstock_client* client, const char* stream, const char* mine, char** agreed) {
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

static int begin_series(penstock_client* client, const char* stream, const char* snapshot,
                        const penstock_field* fields, int count) {
  char* mine = text_of(client, stream, snapshot, fields, count);
  psk_series* made = new_series(stream, client, fields, count);
  int status = mine && made ? 0 : psk_fail(client, PENSTOCK_MEMORY, snapshot, "no memory for a contract");
  if (!status) status = agree(client, stream, mine, &made->contract);
  if (!status) status = differs(client, stream, snapshot, made->contract, mine);
  free(mine);
  if (!status) {
    made->next = client->series;
    client->series = made;
  } else if (made) {
    free_one(made);
  }
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

// ---- The checks before anything of a snapshot is sent

static int check_fields(penstock_client* client, const char* stream, const char* snapshot,
                        const penstock_field* fields, int count) {
  if (!fields || count < 1) return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot, "it has no fields");
  for (int i = 0; i < count; i++) {
    int status = psk_check_field(client, fields[i].name);
    if (!status) status = psk_check_array(client, fields[i].name, &fields[i].array);
    for (int k = 0; !status && k < i; k++)
      if (!strcmp(fields[k].name, fields[i].name))
        status = psk_fail(client, PENSTOCK_SNAPSHOT, snapshot, "it has the field '%s' twice", fields[i].name);
    if (!status) status = psk_check_about(client, &fields[i], psk_about(client, stream, fields[i].name));
    if (status) return status;
  }
  return 0;
}

static int check_step(penstock_client* client, const psk_series* series, const char* snapshot, int64_t step) {
  if (step < 0)
    return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot, "a step is an integer of 0 or more, got %lld",
                    (long long)step);
  if (series && step <= series->last_step)
    return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                    "its step is not greater than the one before it, %lld", (long long)series->last_step);
  return 0;
}

static int add_metadata(penstock_client* client, const char* stream, double time,
                        const penstock_field* fields, int count, psk_metadata_list* metadata) {
  int status = isnan(time) ? 0 : psk_add_scalar(metadata, "time", PENSTOCK_FLOAT64, &time);
  for (int i = 0; !status && i < count; i++)
    status = psk_add_about(metadata, fields[i].name, psk_about(client, stream, fields[i].name));
  return status ? psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for metadata") : 0;
}

void psk_free_prepared(psk_prepared* prepared) {
  free(prepared->name);
  psk_free_metadata(&prepared->metadata);
}

int psk_prepare(penstock_client* client, const char* stream, int64_t step, double time,
                const penstock_field* fields, int count, psk_prepared* prepared) {
  size_t room = strlen(client->producer) + 48;
  *prepared = (psk_prepared){0};
  int status = psk_check_name(client, "stream", stream);
  if (status) return status;
  char* name = prepared->name = malloc(room);
  if (!name) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
  snprintf(name, room, "%s.%lld.%lld", client->producer, (long long)client->rank, (long long)step);
  client->subject = name;
  const psk_series* series = find_series(client, stream);
  status = check_step(client, series, name, step);
  if (!status) status = check_fields(client, stream, name, fields, count);
  if (!status)
    status = series ? check_against(client, series, name, fields, count)
                    : begin_series(client, stream, name, fields, count);
  if (!status) status = add_metadata(client, stream, time, fields, count, &prepared->metadata);
  client->subject = NULL;
  if (status) psk_free_prepared(prepared);
  return status;
}

void psk_note(penstock_client* client, const char* stream, int64_t step) {
  find_series(client, stream)->last_step = step;
}

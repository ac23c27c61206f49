// What this client has put in one stream: the contract that holds there, its own first snapshot (its blocks
// must stay where they are) and the last step. A snapshot that looks like that first one costs no text and no
// round trip.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

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

// ---- Comparing

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
  char* mine = psk_contract_text(client, series->stream, snapshot, fields, count);
  if (!mine) return psk_fail(client, PENSTOCK_MEMORY, snapshot, "no memory for a contract");
  int status = psk_contract_differs(client, series->stream, snapshot, series->contract, mine);
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

static int begin_series(penstock_client* client, const char* stream, const char* snapshot,
                        const penstock_field* fields, int count) {
  char* mine = psk_contract_text(client, stream, snapshot, fields, count);
  psk_series* made = new_series(stream, client, fields, count);
  int status = mine && made ? 0 : psk_fail(client, PENSTOCK_MEMORY, snapshot, "no memory for a contract");
  if (!status) status = psk_contract_agree(client, stream, mine, &made->contract);
  if (!status) status = psk_contract_differs(client, stream, snapshot, made->contract, mine);
  free(mine);
  if (!status) {
    made->next = client->series;
    client->series = made;
  } else if (made) {
    free_one(made);
  }
  return status;
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
  free(prepared->contract);
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
  if (!status && !(prepared->contract = strdup(find_series(client, stream)->contract)))
    status = psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a contract");
  if (!status) status = add_metadata(client, stream, time, fields, count, &prepared->metadata);
  client->subject = NULL;
  if (status) psk_free_prepared(prepared);
  return status;
}

void psk_note(penstock_client* client, const char* stream, int64_t step) {
  find_series(client, stream)->last_step = step;
}

// Snapshots: the fields of one rank at one step as the dataset <producer>.<rank>.<step>, announced last, by
// its name at the end of the stream's list.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef struct layout {
  char* name;
  penstock_dtype dtype;
  int rank;
  int64_t dims[PENSTOCK_MAX_RANK];
} layout;

// What has been put in one stream so far, and so what the next snapshot must look like.
struct psk_series {
  psk_series* next;
  char* stream;
  int64_t last_step;
  layout* fields;
  int count;
};

static void free_layouts(layout* fields, int count) {
  for (int i = 0; fields && i < count; i++) free(fields[i].name);
  free(fields);
}

void psk_free_series(psk_series* series) {
  while (series) {
    psk_series* next = series->next;
    free_layouts(series->fields, series->count);
    free(series->stream);
    free(series);
    series = next;
  }
}

static psk_series* find_series(const penstock_client* client, const char* stream) {
  for (psk_series* one = client->series; one; one = one->next)
    if (!strcmp(one->stream, stream)) return one;
  return NULL;
}

// ---- Checks before anything is sent

static const penstock_field* find_field(const penstock_field* fields, int count, const char* name) {
  for (int i = 0; i < count; i++)
    if (!strcmp(fields[i].name, name)) return &fields[i];
  return NULL;
}

static int check_fields(penstock_client* client, const char* snapshot, const penstock_field* fields,
                        int count) {
  if (!fields || count < 1) return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot, "it has no fields");
  for (int i = 0; i < count; i++) {
    int status = psk_check_field(client, fields[i].name);
    if (!status) status = psk_check_array(client, fields[i].name, &fields[i].array);
    if (!status && find_field(fields, i, fields[i].name))
      status = psk_fail(client, PENSTOCK_SNAPSHOT, snapshot, "it has the field '%s' twice", fields[i].name);
    if (status) return status;
  }
  return 0;
}

static int check_against(penstock_client* client, const char* snapshot, const psk_series* series,
                         const penstock_field* fields, int count) {
  for (int i = 0; i < series->count; i++)
    if (!find_field(fields, count, series->fields[i].name))
      return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                      "the field '%s' is missing, earlier snapshots have it", series->fields[i].name);
  for (int i = 0; i < count; i++) {
    const penstock_array* is = &fields[i].array;
    const layout* was = NULL;
    for (int k = 0; k < series->count && !was; k++)
      if (!strcmp(series->fields[k].name, fields[i].name)) was = &series->fields[k];
    if (!was)
      return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                      "the field '%s' is new, earlier snapshots do not have it", fields[i].name);
    if (was->dtype == is->dtype && was->rank == is->rank &&
        !memcmp(was->dims, is->dims, (size_t)is->rank * sizeof *is->dims))
      continue;
    char now[256], before[256];
    psk_describe(now, sizeof now, is->dtype, is->rank, is->dims);
    psk_describe(before, sizeof before, was->dtype, was->rank, was->dims);
    return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot, "the field '%s' is %s, it was %s before",
                    fields[i].name, now, before);
  }
  return 0;
}

int psk_prepare(penstock_client* client, const char* stream, int64_t step, const penstock_field* fields,
                int count, char** name) {
  size_t room = strlen(client->producer) + 48;
  *name = NULL;
  int status = psk_check_name(client, "stream", stream);
  if (status) return status;
  char* made = malloc(room);
  if (!made) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
  snprintf(made, room, "%s.%lld.%lld", client->producer, (long long)client->rank, (long long)step);
  const psk_series* series = find_series(client, stream);
  if (step < 0)
    status = psk_fail(client, PENSTOCK_SNAPSHOT, made, "a step is an integer of 0 or more, got %lld",
                      (long long)step);
  if (!status && series && step <= series->last_step)
    status = psk_fail(client, PENSTOCK_SNAPSHOT, made, "its step is not greater than the one before it, %lld",
                      (long long)series->last_step);
  if (!status) status = check_fields(client, made, fields, count);
  if (!status && series) status = check_against(client, made, series, fields, count);
  if (status)
    free(made);
  else
    *name = made;
  return status;
}

static int note_new(penstock_client* client, const char* stream, const penstock_field* fields, int count) {
  psk_series* series = calloc(1, sizeof *series);
  layout* layouts = calloc((size_t)count, sizeof *layouts);
  char* name = strdup(stream);
  int good = series && layouts && name;
  for (int i = 0; good && i < count; i++) {
    const penstock_array* array = &fields[i].array;
    layouts[i].dtype = array->dtype;
    layouts[i].rank = array->rank;
    memcpy(layouts[i].dims, array->dims, (size_t)array->rank * sizeof *array->dims);
    good = (layouts[i].name = strdup(fields[i].name)) != NULL;
  }
  if (!good) {
    free_layouts(layouts, count);
    free(series);
    free(name);
    return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for the layout of a stream");
  }
  *series = (psk_series){client->series, name, -1, layouts, count};
  client->series = series;
  return 0;
}

int psk_note(penstock_client* client, const char* stream, int64_t step, const penstock_field* fields,
             int count) {
  if (!find_series(client, stream)) {
    int status = note_new(client, stream, fields, count);
    if (status) return status;
  }
  find_series(client, stream)->last_step = step;
  return 0;
}

// ---- Putting

static int push(penstock_client* client, const char* stream, const char* entry, int64_t bytes) {
  psk_complete(client, entry);
  psk_announce(client, stream, entry, bytes);
  return psk_run(client);
}

static int reply_position(penstock_client* client, psk_link* link, psk_command* command,
                          const psk_token* token) {
  if (token->kind != '$' || token->number != -1) return psk_reply_integer(client, link, command, token);
  *(int64_t*)command->context = -1;
  return 0;
}

// Whether the entry is near the end of the stream.
static int look(penstock_client* client, const char* stream, const char* entry, int64_t* position) {
  *position = -1;
  psk_complete(client, entry);
  psk_command_begin(client, 7, reply_position, position);
  psk_word(client, "LPOS");
  psk_key(client, stream, NULL);
  psk_word(client, entry);
  psk_word(client, "RANK");
  psk_word(client, "-1");
  psk_word(client, "MAXLEN");
  psk_word(client, "10000");
  return psk_run(client);
}

// An entry must not stand there twice: where the connection breaks on the way, whether it has arrived is
// looked up before it is sent again. That needs the end of the old connection to have been told, so that
// nothing sent over it is still to come; one that is only silent uses up the time of the call, and is not
// repeated.
static int announce(penstock_client* client, const char* stream, const char* entry, int64_t bytes) {
  client->doing = "announce in the stream";
  client->subject = stream;
  for (;;) {
    int status = push(client, stream, entry, bytes);
    if (status != PENSTOCK_UNAVAILABLE || !client->uncertain || psk_now() > client->deadline) return status;
    client->error.status = 0;
    client->uncertain = 0;
    client->hopeless = PSK_HOPE;
    int64_t position;
    status = look(client, stream, entry, &position);
    if (status || position >= 0) return status;
  }
}

static size_t bytes_of(const penstock_field* fields, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; i++)
    bytes += psk_nbytes(fields[i].array.dtype, fields[i].array.rank, fields[i].array.dims);
  return bytes;
}

// Store and announce a snapshot that has room, in the database or in files.
static int store(penstock_client* client, const char* stream, const char* name, const char* entry,
                 const penstock_field* fields, int count, psk_metadata_list* metadata,
                 const psk_verdict* verdict) {
  int spilled = verdict->outcome == PENSTOCK_SPILLED;
  size_t bytes = bytes_of(fields, count);
  client->doing = "put snapshot";
  client->subject = name;
  int status = spilled ? psk_spill(client, verdict->directory, stream, name, fields, count, metadata) : 0;
  if (status) return status;
  psk_store(client, entry, fields, count, metadata, !spilled);
  if (!spilled) psk_room_ahead(client, entry, bytes);
  status = psk_run(client);
  return status ? status : announce(client, stream, entry, spilled ? -1 : (int64_t)bytes);
}

int psk_put_prepared(penstock_client* client, const char* stream, const char* name, double time,
                     const penstock_field* fields, int count) {
  psk_metadata_list metadata = {0};
  if (!isnan(time) && psk_add_scalar(&metadata, "time", PENSTOCK_FLOAT64, &time)) client->no_memory = 1;
  psk_verdict verdict = {0};
  char* entry = psk_entry(client, client->written, name);
  int status =
      entry ? psk_reserve(client, stream, entry, bytes_of(fields, count), &verdict) : PENSTOCK_MEMORY;
  if (!status) {
    client->outcome = verdict.outcome;
    if (verdict.outcome != PENSTOCK_SKIPPED)
      status = store(client, stream, name, entry, fields, count, &metadata, &verdict);
    if (status) psk_release(client, stream);
  }
  free(verdict.directory);
  psk_free_metadata(&metadata);
  free(entry);
  return status;
}

int penstock_put_snapshot(penstock_client* client, const char* stream, int64_t step, double time,
                          const penstock_field* fields, int count) {
  if (client->async) {
    int status = penstock_flush(client, client->timeout);  // snapshots stand in their order
    if (status) return status;
  }
  char* name;
  psk_begin(client, "put snapshot", "");
  int status = psk_prepare(client, stream, step, fields, count, &name);
  if (status) return status;
  status = psk_put_prepared(client, stream, name, time, fields, count);
  client->subject = NULL;
  free(name);
  return status ? status : psk_note(client, stream, step, fields, count);
}

// ---- Getting

static int reply_entry(penstock_client* client, psk_link* link, psk_command* command,
                       const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '$') return psk_garbage(client, link, "a name");
  char** entry = command->context;
  free(*entry);
  *entry = NULL;
  if (token->number < 0) return 0;
  *entry = calloc(1, (size_t)token->number + 1);
  if (*entry) return psk_body(client, link, token, *entry);
  int status = psk_pass(client, link, token);
  return status ? status : psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
}

// The number that ends the text, behind a dot. Cuts it off.
static int cut_number(char* text, int64_t* number) {
  char* dot = strrchr(text, '.');
  if (!dot || dot == text || !dot[1] || strspn(dot + 1, "0123456789") != strlen(dot + 1) ||
      strlen(dot + 1) > 18)
    return -1;
  *number = strtoll(dot + 1, NULL, 10);
  *dot = '\0';
  return 0;
}

// What is between the last braces of an entry, or the whole. To be freed.
static char* name_of(const char* entry) {
  const char* open = strrchr(entry, '{');
  char* name = strdup(open ? open + 1 : entry);
  for (size_t end = name ? strlen(name) : 0; end > 0 && name[end - 1] == '}'; end--) name[end - 1] = '\0';
  return name;
}

static int parse_name(penstock_client* client, const char* name, penstock_snapshot* snapshot) {
  free(client->found);
  client->found = strdup(name);
  if (!client->found) return psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a name");
  if (cut_number(client->found, &snapshot->step) || cut_number(client->found, &snapshot->rank))
    return psk_fail(client, PENSTOCK_SNAPSHOT, name,
                    "a snapshot's name is <producer>.<rank>.<step>, for example heat_0.0.40");
  snapshot->producer = client->found;
  return 0;
}

static void take_time(const psk_metadata_list* metadata, penstock_snapshot* snapshot) {
  const psk_metadata* time = psk_find_metadata(metadata, "time");
  snapshot->time = NAN;
  snapshot->has_time = 0;
  if (!time || time->packed.used != 1 + sizeof snapshot->time ||
      psk_packed_dtype(&time->packed) != PENSTOCK_FLOAT64)
    return;
  memcpy(&snapshot->time, time->packed.at + 1, sizeof snapshot->time);
  snapshot->has_time = 1;
}

static int load_fields(penstock_client* client, const char* entry, const char* name, char** fields, int count,
                       psk_sink place, const psk_metadata* spilled) {
  psk_sink* sinks = calloc((size_t)count + 1, sizeof *sinks);
  if (!sinks) return psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a snapshot");
  for (int i = 0; i < count; i++) {
    sinks[i] = place;
    sinks[i].name = fields[i];
    sinks[i].may_miss = 1;
  }
  psk_again(client);
  int status = spilled ? psk_load_spilled(client, &spilled->packed, name, sinks, count)
                       : psk_load(client, entry, sinks, count);
  char* missing = psk_missing(sinks, count);
  if (missing && (!status || status == PENSTOCK_REFUSED)) {
    client->error.status = 0;
    status = psk_fail(client, PENSTOCK_INCOMPLETE, name, "announced, but not in the database: %s", missing);
  } else if (status == PENSTOCK_REFUSED) {
    client->error.status = 0;
    status = psk_fail(client, PENSTOCK_SNAPSHOT, name,
                      "its fields are in the database and cannot be read as tensors");
  }
  free(missing);
  free(sinks);
  return status;
}

static int load_snapshot(penstock_client* client, const char* entry, const char* name, psk_sink place,
                         penstock_snapshot* snapshot) {
  psk_metadata_list metadata = {0};
  psk_again(client);
  psk_command_begin(client, 2, psk_reply_metadata, &metadata);
  psk_word(client, "HGETALL");
  psk_key(client, entry, ".meta", NULL);
  int status = psk_run(client), count = 0;
  const psk_metadata* names = psk_find_metadata(&metadata, PSK_TENSOR_NAMES);
  char** fields = names ? psk_packed_strings(&names->packed, &count) : NULL;
  if (!status && count == 0)
    status =
        psk_fail(client, PENSTOCK_INCOMPLETE, name, "announced, but not in the database: any of its fields");
  const psk_metadata* spilled = psk_find_metadata(&metadata, PSK_SPILLED);
  if (!status) status = load_fields(client, entry, name, fields, count, place, spilled);
  client->outcome = spilled ? PENSTOCK_SPILLED : PENSTOCK_STORED;
  if (!status) take_time(&metadata, snapshot);
  psk_free_strings(fields, count);
  psk_free_metadata(&metadata);
  return status;
}

static int find_entry(penstock_client* client, const char* stream, int64_t position, char** entry) {
  char where[280];
  snprintf(where, sizeof where, "%.200s[%lld]", stream, (long long)position);
  if (position >= 0) {
    psk_command_begin(client, 3, reply_entry, entry);
    psk_word(client, "LINDEX");
    psk_key(client, stream, NULL);
    psk_word_number(client, position);
    int status = psk_run(client);
    if (status || *entry) return status;
  }
  return psk_fail(client, PENSTOCK_KEY_MISSING, where, "nothing is announced there");
}

int penstock_get_snapshot(penstock_client* client, const char* stream, int64_t position, penstock_place place,
                          void* context, penstock_snapshot* snapshot) {
  psk_begin(client, "get a snapshot of stream", stream);
  int status = psk_check_name(client, "stream", stream);
  if (!status && (!place || !snapshot))
    status = psk_fail(client, PENSTOCK_INVALID, stream, "place and snapshot must not be NULL");
  char *entry = NULL, *name = NULL;
  if (!status) status = find_entry(client, stream, position, &entry);
  if (!status && !(name = name_of(entry)))
    status = psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for a name");
  if (!status) status = parse_name(client, name, snapshot);
  if (!status)
    status = load_snapshot(client, entry, name, (psk_sink){.place = place, .context = context}, snapshot);
  if (status == PENSTOCK_INCOMPLETE) status = psk_explain_missing(client, stream, position, name);
  free(name);
  free(entry);
  return status;
}

int penstock_announced(penstock_client* client, const char* stream, int64_t* count) {
  psk_begin(client, "count the snapshots of stream", stream);
  return psk_list_length(client, "stream", stream, count);
}

penstock_outcome penstock_last_outcome(const penstock_client* client) { return client->outcome; }

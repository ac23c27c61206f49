// Snapshots: the fields of one rank at one step as the dataset <producer>.<rank>.<step>, announced last, by
// its name at the end of the stream's list.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "flow.h"

// ---- Putting

enum { kNearTheEnd = 10000 };

static int reply_position(penstock_client* client, psk_link* link, psk_command* command,
                          const psk_token* token) {
  if (token->kind != '$' || token->number != -1) return psk_reply_integer(client, link, command, token);
  *(int64_t*)command->context = -1;
  return 0;
}

// Whether the entry is among the last of the stream. `most`: how many are looked at, 0 for all.
static int look(penstock_client* client, const psk_news* news, int64_t most, int64_t* position) {
  *position = -1;
  psk_again(client);
  psk_command_begin(client, 7, reply_position, position);
  psk_word(client, "LPOS");
  psk_key(client, news->stream, NULL);
  psk_word(client, news->entry);
  psk_word(client, "RANK");
  psk_word(client, "-1");
  psk_word(client, "MAXLEN");
  psk_word_number(client, most);
  return psk_run(client);
}

// An entry must not stand there twice: where the connection breaks on the way, whether it has arrived is
// looked up before it is sent again. That needs the end of the old connection to have been told, so that
// nothing sent over it is still to come; one that is only silent uses up the time of the call, and is not
// repeated.
static int announce(penstock_client* client, const char* name, psk_news* news) {
  client->doing = "announce in the stream";
  client->subject = news->stream;
  for (;;) {
    psk_announce(client, news);
    int status = psk_run(client);
    if (!status && news->disagreed) {
      status = psk_agree_again(client, name, news);
      if (status) return status;
      continue;
    }
    if (status != PENSTOCK_UNAVAILABLE || !client->uncertain || psk_now() > client->deadline) return status;
    client->error.status = 0;
    client->uncertain = 0;
    client->hopeless = PSK_HOPE;
    int64_t position;
    status = look(client, news, kNearTheEnd, &position);
    news->announced = position >= 0;
    if (status || (news->announced && !client->cluster.on)) return status;
  }
}

static size_t bytes_of(const penstock_field* fields, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; i++)
    bytes += psk_nbytes(fields[i].array.dtype, fields[i].array.rank, fields[i].array.dims);
  return bytes;
}

// A dataset that was refused its announcement is in no stream. In a cluster its shard has been told that it
// is complete, else it sees to it itself, but for files. Where an earlier position has it, it is that one's.
static void take_back(penstock_client* client, const psk_news* news) {
  psk_error kept = client->error;
  int is_seen_to = !client->cluster.on && news->bytes >= 0;
  if (is_seen_to || client->interrupted || news->announced || kept.status == PENSTOCK_UNAVAILABLE)
    return;  // or nobody knows whether it is announced
  int64_t position;
  client->error.status = 0;
  int status = look(client, news, 0, &position);
  int is_no_list = status && strstr(client->error.reason, "WRONGTYPE");
  if (position < 0 && (!status || is_no_list)) {
    char* one = (char*)(uintptr_t)news->entry;
    const psk_entries all = {&one, 1};
    client->error.status = 0;
    (void)psk_remove_datasets(client, news->stream, &all, 0);
  }
  client->error = kept;
}

// Store and announce a snapshot that has room, in the database or in files. Where its connection ended in
// between, the database has taken the client for dead and removed what it had written: then all of it again.
static int store(penstock_client* client, const char* stream, const char* entry, psk_prepared* prepared,
                 const penstock_field* fields, int count, const psk_verdict* verdict) {
  int spilled = verdict->outcome == PENSTOCK_SPILLED;
  const char* name = prepared->name;
  client->doing = "put snapshot";
  client->subject = name;
  int status =
      spilled ? psk_spill(client, verdict->directory, stream, name, fields, count, &prepared->metadata) : 0;
  const psk_storing what = {.entry = entry,
                            .fields = fields,
                            .count = count,
                            .metadata = &prepared->metadata,
                            .names_only = spilled,
                            .of_stream = 1};
  psk_news news = {.stream = stream,
                   .entry = entry,
                   .contract = prepared->contract,
                   .bytes = spilled ? -1 : (int64_t)bytes_of(fields, count)};
  while (!status) {
    status = psk_store(client, &what);
    if (!status && (status = announce(client, name, &news))) take_back(client, &news);
    if (status || !news.gone) break;
    if (psk_now() > client->deadline)
      status = psk_fail(client, PENSTOCK_UNAVAILABLE, name, "the database removes it before it is announced");
  }
  return status;
}

int psk_put_prepared(penstock_client* client, const char* stream, psk_prepared* prepared,
                     const penstock_field* fields, int count) {
  psk_verdict verdict = {0};
  char* entry = psk_entry(client, client->written, prepared->name);
  int status = PENSTOCK_MEMORY;
  if (entry) {
    const psk_size size = {bytes_of(fields, count), psk_bytes_by_socket(client, entry, fields, count)};
    status = psk_reserve(client, stream, entry, size, &verdict);
  }
  if (!status) {
    client->outcome = verdict.outcome;
    if (verdict.outcome != PENSTOCK_SKIPPED)
      status = store(client, stream, entry, prepared, fields, count, &verdict);
    if (status) psk_release(client, stream);
  }
  free(verdict.directory);
  free(entry);
  return status;
}

int penstock_put_snapshot(penstock_client* client, const char* stream, int64_t step, double time,
                          const penstock_field* fields, int count) {
  if (client->async) {
    int status = penstock_flush(client, client->timeout);  // snapshots stand in their order
    if (status) return status;
  }
  psk_prepared prepared;
  psk_begin(client, "put snapshot", "");
  int status = psk_prepare(client, stream, step, time, fields, count, &prepared);
  if (status) return status;
  status = psk_put_prepared(client, stream, &prepared, fields, count);
  client->subject = NULL;
  psk_free_prepared(&prepared);
  if (!status) psk_note(client, stream, step);
  return status;
}

// ---- Getting

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
char* psk_name_of(const char* entry) {
  const char* open = strrchr(entry, '{');
  char* name = strdup(open ? open + 1 : entry);
  for (size_t end = name ? strlen(name) : 0; end > 0 && name[end - 1] == '}'; end--) name[end - 1] = '\0';
  return name;
}

int psk_parse_name(penstock_client* client, const char* name, penstock_snapshot* snapshot) {
  free(client->found);
  client->found = strdup(name);
  if (!client->found) return psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a name");
  if (cut_number(client->found, &snapshot->step) || cut_number(client->found, &snapshot->rank))
    return psk_fail(client, PENSTOCK_SNAPSHOT, name,
                    "a snapshot's name is <producer>.<rank>.<step>, for example heat_0.0.40");
  snapshot->producer = client->found;
  return 0;
}

void psk_take_time(const psk_metadata_list* metadata, penstock_snapshot* snapshot) {
  const psk_metadata* time = psk_find_metadata(metadata, "time");
  snapshot->time = NAN;
  snapshot->has_time = 0;
  if (!time || time->packed.used != 1 + sizeof snapshot->time ||
      psk_packed_dtype(&time->packed) != PENSTOCK_FLOAT64)
    return;
  memcpy(&snapshot->time, time->packed.at + 1, sizeof snapshot->time);
  snapshot->has_time = 1;
}

static penstock_found* find_found(const penstock_client* client, const char* field) {
  for (int i = 0; i < client->n_found; i++)
    if (!strcmp(client->found_fields[i].name, field)) return &client->found_fields[i];
  return NULL;
}

int psk_make_sinks(penstock_client* client, const char* name, const psk_reading* how, psk_sink* sinks) {
  int count = how->into ? how->count : client->n_found;
  for (int i = 0; i < count; i++) {
    const char* field = how->into ? how->into[i].name : client->found_fields[i].name;
    penstock_found* found = find_found(client, field);
    if (!found) {
      psk_fail(client, PENSTOCK_SNAPSHOT, name, "it has no field '%s'", field);
      return -1;
    }
    sinks[i] = (psk_sink){.place = how->place,
                          .context = how->context,
                          .array = how->into ? &how->into[i].array : NULL,
                          .name = found->name,
                          .info = &found->info,
                          .may_miss = 1};
    if (how->view && !(sinks[i].piece = psk_view_add(how->view, found->name))) client->no_memory = 1;
  }
  return count;
}

static int load_fields(penstock_client* client, const char* entry, const char* name, const psk_reading* how,
                       const psk_metadata* spilled) {
  psk_sink* sinks = calloc((size_t)client->n_found + (size_t)how->count + 1, sizeof *sinks);
  if (!sinks) return psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a snapshot");
  int count = psk_make_sinks(client, name, how, sinks);
  psk_again(client);
  int status = count < 0 ? client->error.status
               : spilled ? psk_load_spilled(client, &spilled->packed, name, sinks, count)
                         : psk_load(client, entry, sinks, count);
  char* missing = count < 0 ? NULL : psk_missing(sinks, count);
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
  return status ? status : psk_check_found(client, name);
}

static int load_snapshot(penstock_client* client, const char* stream, const char* entry, const char* name,
                         const psk_reading* how, penstock_snapshot* snapshot) {
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
  if (!status) status = psk_take_found(client, name, &metadata, fields, count);
  if (!status && spilled) status = psk_check_spilled(client, stream, name, &spilled->packed);
  if (!status) status = load_fields(client, entry, name, how, spilled);
  client->outcome = spilled ? PENSTOCK_SPILLED : PENSTOCK_STORED;
  if (!status) psk_take_time(&metadata, snapshot);
  snapshot->count = client->n_found;
  snapshot->fields = client->found_fields;
  psk_free_strings(fields, count);
  psk_free_metadata(&metadata);
  return status;
}

static int find_entry(penstock_client* client, const char* stream, int64_t position, char** entry) {
  char where[280];
  snprintf(where, sizeof where, "%.200s[%lld]", stream, (long long)position);
  if (position >= 0) {
    psk_command_begin(client, 3, psk_reply_text, entry);
    psk_word(client, "LINDEX");
    psk_key(client, stream, NULL);
    psk_word_number(client, position);
    int status = psk_run(client);
    if (status || *entry) return status;
  }
  return psk_fail(client, PENSTOCK_KEY_MISSING, where, "nothing is announced there");
}

int psk_read_snapshot(penstock_client* client, const char* stream, int64_t position, const psk_reading* how,
                      penstock_snapshot* snapshot) {
  char *entry = NULL, *name = NULL;
  int status = psk_check_name(client, "stream", stream);
  if (!status) status = find_entry(client, stream, position, &entry);
  if (!status && !(name = psk_name_of(entry)))
    status = psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for a name");
  if (!status) status = psk_parse_name(client, name, snapshot);
  if (!status) status = load_snapshot(client, stream, entry, name, how, snapshot);
  if (status == PENSTOCK_INCOMPLETE) status = psk_explain_missing(client, stream, position, name);
  free(name);
  free(entry);
  return status;
}

int penstock_get_snapshot(penstock_client* client, const char* stream, int64_t position, penstock_place place,
                          void* context, penstock_snapshot* snapshot) {
  psk_begin(client, "get a snapshot of stream", stream);
  if (!place || !snapshot)
    return psk_fail(client, PENSTOCK_INVALID, stream, "place and snapshot must not be NULL");
  const psk_reading how = {.place = place, .context = context};
  return psk_read_snapshot(client, stream, position, &how, snapshot);
}

int penstock_map_snapshot(penstock_client* client, const char* stream, int64_t position,
                          penstock_snapshot* snapshot, penstock_view** view) {
  psk_begin(client, "map a snapshot of stream", stream);
  if (!snapshot || !view)
    return psk_fail(client, PENSTOCK_INVALID, stream, "snapshot and view must not be NULL");
  penstock_view* made = *view = psk_view_new();
  if (!made) return psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for a view");
  const psk_reading how = {.view = made};
  int status = psk_read_snapshot(client, stream, position, &how, snapshot);
  if (!status) return 0;
  penstock_unmap(made);
  *view = NULL;
  return status;
}

int penstock_get_snapshot_fields(penstock_client* client, const char* stream, int64_t position,
                                 const penstock_field* fields, int count, penstock_snapshot* snapshot) {
  psk_begin(client, "get a snapshot of stream", stream);
  penstock_snapshot unasked;
  if (!fields || count < 1) return psk_fail(client, PENSTOCK_INVALID, stream, "no fields are asked for");
  for (int i = 0; i < count; i++) {
    int status = psk_check_field(client, fields[i].name);
    if (!status) status = psk_check_array(client, fields[i].name, &fields[i].array);
    if (status) return status;
  }
  const psk_reading how = {.into = fields, .count = count};
  return psk_read_snapshot(client, stream, position, &how, snapshot ? snapshot : &unasked);
}

int penstock_snapshot_info(penstock_client* client, const char* stream, int64_t position,
                           penstock_snapshot* snapshot) {
  psk_begin(client, "look at a snapshot of stream", stream);
  if (!snapshot) return psk_fail(client, PENSTOCK_INVALID, stream, "snapshot must not be NULL");
  const psk_reading how = {0};
  return psk_read_snapshot(client, stream, position, &how, snapshot);
}

int penstock_announced(penstock_client* client, const char* stream, int64_t* count) {
  psk_begin(client, "count the snapshots of stream", stream);
  return psk_list_length(client, "stream", stream, count);
}

penstock_outcome penstock_last_outcome(const penstock_client* client) { return client->outcome; }

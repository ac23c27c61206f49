// Several snapshots of a stream, in few round trips: names, descriptions, fields by 32 MB.
//
// A batch ends before a snapshot that is out of the ordinary: given up, spilled, not whole, or none at all.
// Where this is the first, it is read as penstock_get_snapshot does, which also says what is wrong. So an
// error is always the first's. After a batch that ended early the next one is small, so that little is asked
// for in vain.
//
// Fields are asked for so many bytes at a time, for what is asked for lies in the server's memory until it
// has been sent. How large a snapshot is, those before it have shown.

#include <stdlib.h>
#include <string.h>

#include "arena.h"

enum { kMost = 1024 };

static const size_t kBytesAtOnce = (size_t)32 << 20;

typedef struct item {
  psk_batch* batch;
  int i;
  char *entry, *name, *producer;
  psk_metadata_list metadata;
  penstock_found* fields;
  int n_fields;
  psk_sink* sinks;
  penstock_view* view;
} item;

// Owned by the client. Of what it is asked for only `stream` and what follows last until the next call.
struct psk_batch {
  penstock_place_of place;
  void* context;
  item* items;
  int count;
  penstock_snapshot* snapshots;
  char* stream;
  size_t largest;  // bytes of a snapshot of it; 0: none has been seen
  int hope;        // how many are asked for
};

// ---- Owning

static void forget(psk_batch* batch) {
  for (int i = 0; i < batch->count; i++) {
    item* one = &batch->items[i];
    psk_free_fields(one->fields, one->n_fields);
    psk_free_metadata(&one->metadata);
    penstock_unmap(one->view);
    free(one->entry);
    free(one->name);
    free(one->producer);
    free(one->sinks);
  }
  free(batch->items);
  free(batch->snapshots);
  batch->items = NULL;
  batch->snapshots = NULL;
  batch->count = 0;
}

void psk_free_batch(psk_batch* batch) {
  if (!batch) return;
  forget(batch);
  free(batch->stream);
  free(batch);
}

// The batch of this call, with room for `most` or fewer. NULL: no memory, and psk_fail was called.
static psk_batch* begin(penstock_client* client, const char* stream, int most) {
  psk_batch* batch = client->batch ? client->batch : (client->batch = calloc(1, sizeof *batch));
  if (!batch) goto failed;
  forget(batch);
  if (!batch->stream || strcmp(batch->stream, stream)) {
    free(batch->stream);
    batch->stream = strdup(stream);
    batch->largest = 0;
    batch->hope = kMost;
  }
  if (most > batch->hope) most = batch->hope;
  batch->items = calloc((size_t)most, sizeof *batch->items);
  batch->snapshots = calloc((size_t)most, sizeof *batch->snapshots);
  if (!batch->stream || !batch->items || !batch->snapshots) goto failed;
  batch->count = most;
  for (int i = 0; i < most; i++) batch->items[i] = (item){.batch = batch, .i = i};
  return batch;
failed:
  psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for snapshots");
  return NULL;
}

// ---- Names and descriptions

static int find_entries(penstock_client* client, psk_batch* batch, const int64_t* positions) {
  psk_again(client);
  for (int i = 0; i < batch->count; i++) {
    if (positions[i] < 0) break;
    psk_command_begin(client, 3, psk_reply_text, &batch->items[i].entry);
    psk_word(client, "LINDEX");
    psk_key(client, batch->stream, NULL);
    psk_word_number(client, positions[i]);
  }
  return client->n_commands ? psk_run(client) : 0;
}

static int describe(penstock_client* client, psk_batch* batch, int count) {
  psk_again(client);
  for (int i = 0; i < count; i++) {
    psk_command_begin(client, 2, psk_reply_metadata, &batch->items[i].metadata);
    psk_word(client, "HGETALL");
    psk_key(client, batch->items[i].entry, ".meta", NULL);
  }
  return count ? psk_run(client) : 0;
}

static void* place_field(void* context, const char* name, const penstock_info* info) {
  const item* one = context;
  return one->batch->place(one->batch->context, one->i, name, info);
}

static int take_fields(penstock_client* client, item* one) {
  const psk_metadata* names = psk_find_metadata(&one->metadata, PSK_TENSOR_NAMES);
  int count = 0;
  char** fields = names ? psk_packed_strings(&names->packed, &count) : NULL;
  int status = count ? psk_take_found(client, one->name, &one->metadata, fields, count) : PENSTOCK_INCOMPLETE;
  psk_free_strings(fields, count);
  if (status) return status;
  one->sinks = calloc((size_t)client->n_found, sizeof *one->sinks);
  if (!one->sinks) return PENSTOCK_MEMORY;
  const psk_reading how = {.place = place_field, .context = one, .view = one->view};
  return psk_make_sinks(client, one->name, &how, one->sinks) < 0 ? client->error.status : 0;
}

// Whether it is an ordinary snapshot; then it is ready to be received.
static int prepare(penstock_client* client, item* one, int mapped, penstock_snapshot* snapshot) {
  if (psk_find_metadata(&one->metadata, PSK_SPILLED)) return 0;
  one->name = psk_name_of(one->entry);
  if (!one->name || psk_parse_name(client, one->name, snapshot)) return 0;
  one->producer = client->found;
  client->found = NULL;
  if (mapped && !(one->view = psk_view_new())) return 0;
  int status = take_fields(client, one);
  one->fields = client->found_fields;
  one->n_fields = client->n_found;
  client->found_fields = NULL;
  client->n_found = 0;
  psk_take_time(&one->metadata, snapshot);
  snapshot->producer = one->producer;
  snapshot->fields = one->fields;
  snapshot->count = one->n_fields;
  return !status;
}

// ---- Fields

static int load(penstock_client* client, item* items, int count) {
  for (int i = 0; i < count; i++)
    for (int k = 0; k < items[i].n_fields; k++) items[i].sinks[k].again = 1;
  for (int left = 1; left > 0;) {
    psk_again(client);
    for (int i = 0; i < count; i++)
      for (int k = 0; k < items[i].n_fields; k++) {
        psk_sink* sink = &items[i].sinks[k];
        if (sink->again) psk_get_command(client, sink, items[i].entry, ".", sink->name);
      }
    int status = psk_get_all(client);
    if (status) return status;
    left = 0;
    for (int i = 0; i < count; i++)
      for (int k = 0; k < items[i].n_fields; k++) left += items[i].sinks[k].again;
  }
  return 0;
}

static void measure(psk_batch* batch, const penstock_found* fields, int count) {
  size_t bytes = 0;
  for (int k = 0; k < count; k++) bytes += fields[k].info.nbytes;
  if (bytes > batch->largest) batch->largest = bytes;
}

static int is_whole(penstock_client* client, item* one) {
  for (int k = 0; k < one->n_fields; k++)
    if (one->sinks[k].missing) return 0;
  measure(one->batch, one->fields, one->n_fields);
  client->found_fields = one->fields;
  client->n_found = one->n_fields;
  int status = psk_check_found(client, one->name);
  client->found_fields = NULL;
  client->n_found = 0;
  return !status;
}

// Receive them, a part after the other. Sets *whole, how many are there. An error is that of the next.
static int load_all(penstock_client* client, psk_batch* batch, int count, int* whole) {
  for (*whole = 0; *whole < count;) {
    size_t fit = batch->largest ? kBytesAtOnce / batch->largest : 1;
    int left = count - *whole, now = fit < 1 ? 1 : fit < (size_t)left ? (int)fit : left;
    int status = load(client, &batch->items[*whole], now);
    if (status) return status;
    for (int upto = *whole + now; *whole < upto; (*whole)++)
      if (!is_whole(client, &batch->items[*whole])) return 0;
  }
  return 0;
}

// ---- The call

static int is_of_the_database(int status) {
  return status == PENSTOCK_UNAVAILABLE || status == PENSTOCK_INTERRUPTED || status == PENSTOCK_MEMORY;
}

// Read what is ordinary of the batch. Sets *whole. Fails only where the database cannot be asked.
static int read_ordinary(penstock_client* client, psk_batch* batch, const int64_t* positions, int mapped,
                         int* whole) {
  *whole = 0;
  int status = find_entries(client, batch, positions), count = 0;
  while (!status && count < batch->count && batch->items[count].entry) count++;
  if (!status) status = describe(client, batch, count);
  int ready = 0;
  while (!status && ready < count && prepare(client, &batch->items[ready], mapped, &batch->snapshots[ready]))
    ready++;
  client->error.status = status;
  if (!status) status = load_all(client, batch, ready, whole);
  if (is_of_the_database(status)) return status;
  client->error.status = 0;
  return 0;
}

static int read_first(penstock_client* client, psk_batch* batch, int64_t position, int mapped) {
  item* one = &batch->items[0];
  psk_again(client);  // in the time of the call
  client->doing = "get a snapshot of stream";
  penstock_unmap(one->view);
  one->view = mapped ? psk_view_new() : NULL;
  if (mapped && !one->view) return psk_fail(client, PENSTOCK_MEMORY, batch->stream, "no memory for a view");
  const psk_reading how = {.place = place_field, .context = one, .view = one->view};
  int status = psk_read_snapshot(client, batch->stream, position, &how, &batch->snapshots[0]);
  if (!status) measure(batch, client->found_fields, client->n_found);
  return status;
}

// Read what is there. Sets *whole, at least 1 where it does not fail.
static int read_batch(penstock_client* client, psk_batch* batch, const int64_t* positions, int mapped,
                      int* whole) {
  int asked = batch->count;
  *whole = 0;
  client->outcome = PENSTOCK_STORED;
  int status = asked > 1 ? read_ordinary(client, batch, positions, mapped, whole) : 0;
  int all = asked == 1 || *whole == asked;
  batch->hope = !all ? 1 : 2 * batch->hope < kMost ? 2 * batch->hope : kMost;
  if (status || *whole) return status;
  *whole = 1;
  return read_first(client, batch, positions[0], mapped);
}

// Give the views away, and end those of what is not whole.
static void give_views(psk_batch* batch, int whole, penstock_view** views) {
  for (int i = 0; i < batch->count; i++) {
    item* one = &batch->items[i];
    if (i < whole)
      psk_view_keep_mapped(views[i] = one->view);
    else
      penstock_unmap(one->view);
    one->view = NULL;
  }
}

int penstock_get_snapshots(penstock_client* client, const char* stream, const int64_t* positions, int most,
                           penstock_place_of place, void* context, const penstock_snapshot** snapshots,
                           penstock_view** views, int* count) {
  psk_begin(client, "get snapshots of stream", stream);
  int status = psk_check_name(client, "stream", stream);
  if (!status && (!positions || most < 1 || !place || !snapshots || !count))
    status = psk_fail(client, PENSTOCK_INVALID, stream,
                      "positions, place, snapshots and count must not be NULL, and most not be %d", most);
  psk_batch* batch = status ? NULL : begin(client, stream, most);
  if (!batch) return client->error.status;
  batch->place = place;
  batch->context = context;
  status = read_batch(client, batch, positions, views != NULL, count);
  if (status) {
    forget(batch);
    return status;
  }
  if (views) give_views(batch, *count, views);
  *snapshots = batch->snapshots;
  return 0;
}

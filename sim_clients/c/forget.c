// The entries of a stream: what is announced in it, and how all of it is removed.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kAtOnce = 1000 };

typedef struct entries {
  char** of;
  int count;
} entries;

static void free_entries(entries* all) {
  psk_free_strings(all->of, all->count);
  *all = (entries){0};
}

static int reply_entries(penstock_client* client, psk_link* link, psk_command* command,
                         const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '*' || token->number < 0) return psk_garbage(client, link, "the entries of a list");
  entries* all = command->context;
  int64_t left = token->number;
  free_entries(all);
  all->of = calloc((size_t)left + 1, sizeof *all->of);
  int status = 0;
  for (; left > 0 && status != PSK_BROKEN; left--) {
    psk_token next;
    psk_command one = {.context = all->of ? &all->of[all->count] : NULL};
    int now = psk_next(client, link, &next);
    if (!now) now = all->of ? psk_reply_text(client, link, &one, &next) : psk_pass(client, link, &next);
    if (!now && all->of && all->of[all->count]) all->count++;
    if (now) status = now;
  }
  if (!status && !all->of)
    status = psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for the entries of a list");
  return status;
}

// The entries from a position on, at most `kAtOnce`.
static int read_entries(penstock_client* client, const char* stream, int64_t from, entries* all) {
  psk_again(client);
  psk_command_begin(client, 4, reply_entries, all);
  psk_word(client, "LRANGE");
  psk_key(client, stream, NULL);
  psk_word_number(client, from);
  psk_word_number(client, from + kAtOnce - 1);
  return psk_run(client);
}

// ---- Names

static int take_names(penstock_client* client, const entries* all) {
  size_t room = (size_t)client->n_found_names + (size_t)all->count + 1;
  char** more = realloc(client->found_names, room * sizeof *more);
  if (!more) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for names");
  client->found_names = more;
  for (int i = 0; i < all->count; i++) {
    char* name = psk_name_of(all->of[i]);
    if (!name) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for names");
    more[client->n_found_names++] = name;
  }
  return 0;
}

int penstock_snapshot_names(penstock_client* client, const char* stream, int64_t from,
                            const char* const** names, int64_t* count) {
  psk_begin(client, "list the snapshots of stream", stream);
  int status = psk_check_name(client, "stream", stream);
  if (!status && from < 0)
    status = psk_fail(client, PENSTOCK_INVALID, stream, "a position is 0 or more, got %lld", (long long)from);
  if (status) return status;
  psk_free_strings(client->found_names, client->n_found_names);
  client->found_names = NULL;
  client->n_found_names = 0;
  entries all = {0};
  do {
    status = read_entries(client, stream, from + client->n_found_names, &all);
    if (!status) status = take_names(client, &all);
  } while (!status && all.count == kAtOnce);
  free_entries(&all);
  if (status) return status;
  *names = (const char* const*)client->found_names;
  *count = client->n_found_names;
  return 0;
}

// ---- Removing

static void unlink_dataset(penstock_client* client, const char* entry, const psk_metadata_list* metadata) {
  int count = 0;
  const psk_metadata* names = psk_find_metadata(metadata, PSK_TENSOR_NAMES);
  char** fields = names ? psk_packed_strings(&names->packed, &count) : NULL;
  if (names && !fields) client->no_memory = 1;
  psk_command_begin(client, 2 + (fields ? count : 0), psk_reply_ignored, NULL);
  psk_word(client, "UNLINK");
  psk_key(client, entry, ".meta", NULL);
  for (int i = 0; fields && i < count; i++) psk_word_joined(client, entry, ".", fields[i], NULL);
  psk_free_strings(fields, count);
}

// The flag by which the rank that made a snapshot has ended.
static void unlink_ended(penstock_client* client, const char* stream, const char* entry) {
  char* name = psk_name_of(entry);
  char* step = name ? strrchr(name, '.') : NULL;
  if (!name) client->no_memory = 1;
  if (step) {
    *step = '\0';
    psk_command_begin(client, 2, psk_reply_ignored, NULL);
    psk_word(client, "UNLINK");
    psk_key(client, "flag.", stream, ".", name, ".ended", NULL);
  }
  free(name);
}

static int unlink_entries(penstock_client* client, const char* stream, const entries* all) {
  psk_metadata_list* metadata = calloc((size_t)all->count + 1, sizeof *metadata);
  if (!metadata) return psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for metadata");
  psk_again(client);
  for (int i = 0; i < all->count; i++) {
    psk_command_begin(client, 2, psk_reply_metadata, &metadata[i]);
    psk_word(client, "HGETALL");
    psk_key(client, all->of[i], ".meta", NULL);
  }
  int status = psk_run(client);
  psk_again(client);
  for (int i = 0; !status && i < all->count; i++) {
    unlink_dataset(client, all->of[i], &metadata[i]);
    unlink_ended(client, stream, all->of[i]);
  }
  if (!status) status = psk_run(client);
  for (int i = 0; i < all->count; i++) psk_free_metadata(&metadata[i]);
  free(metadata);
  return status;
}

int penstock_forget_stream(penstock_client* client, const char* stream) {
  int status = client->async ? penstock_flush(client, client->timeout) : 0;
  if (status) return status;
  psk_begin(client, "forget stream", stream);
  status = psk_check_name(client, "stream", stream);
  if (status) return status;
  entries all = {0};
  int64_t done = 0;
  do {
    status = read_entries(client, stream, done, &all);
    if (!status && all.count) status = unlink_entries(client, stream, &all);
    done += all.count;
  } while (!status && all.count == kAtOnce);
  free_entries(&all);
  if (!status) {
    psk_again(client);
    for (int contract = 0; contract < 2; contract++) {
      psk_command_begin(client, 2, psk_reply_ignored, NULL);
      psk_word(client, "UNLINK");
      if (contract)
        psk_contract_key(client, stream);
      else
        psk_key(client, stream, NULL);
    }
    status = psk_run(client);
  }
  if (!status) psk_forget_series(client, stream);
  return status;
}

// The entries of a stream: what is announced in it, and how all of it is removed.

#include <stdlib.h>
#include <string.h>

#include "flow.h"

enum { kAtOnce = 1000 };

static int reply_entries(penstock_client* client, psk_link* link, psk_command* command,
                         const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '*' || token->number < 0) return psk_garbage(client, link, "the entries of a list");
  psk_entries* all = command->context;
  int64_t left = token->number;
  psk_free_entries(all);
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
static int read_entries(penstock_client* client, const char* stream, int64_t from, psk_entries* all) {
  psk_again(client);
  psk_command_begin(client, 4, reply_entries, all);
  psk_word(client, "LRANGE");
  psk_key(client, stream, NULL);
  psk_word_number(client, from);
  psk_word_number(client, from + kAtOnce - 1);
  return psk_run(client);
}

// ---- Names

static int take_names(penstock_client* client, const psk_entries* all) {
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
  psk_entries all = {0};
  do {
    status = read_entries(client, stream, from + client->n_found_names, &all);
    if (!status) status = take_names(client, &all);
  } while (!status && all.count == kAtOnce);
  psk_free_entries(&all);
  if (status) return status;
  *names = (const char* const*)client->found_names;
  *count = client->n_found_names;
  return 0;
}

// ---- Removing

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

static int unlink_flags(penstock_client* client, const char* stream, const psk_entries* all) {
  psk_again(client);
  for (int i = 0; i < all->count; i++) unlink_ended(client, stream, all->of[i]);
  return all->count ? psk_run(client) : 0;
}

static int remove_entries(penstock_client* client, const char* stream) {
  psk_entries all = {0};
  int64_t done = 0;
  int status;
  do {
    status = read_entries(client, stream, done, &all);
    if (!status) status = psk_remove_datasets(client, stream, &all, 1);
    if (!status) status = unlink_flags(client, stream, &all);
    done += all.count;
  } while (!status && all.count == kAtOnce);
  psk_free_entries(&all);
  return status;
}

// The list and all that is kept beside it, at once: they are in one slot.
static int unlink_stream(penstock_client* client, const char* stream) {
  static const char* const kBeside[] = {".meter", ".sizes", ".consumers", ".steps"};
  enum { kCount = sizeof kBeside / sizeof *kBeside };
  psk_again(client);
  psk_command_begin(client, 3 + kCount, psk_reply_ignored, NULL);
  psk_word(client, "UNLINK");
  psk_contract_key(client, stream);
  psk_word(client, stream);
  for (int i = 0; i < kCount; i++) psk_word_joined(client, "{", stream, "}", kBeside[i], NULL);
  return psk_run(client);
}

int penstock_forget_stream(penstock_client* client, const char* stream) {
  int status = client->async ? penstock_flush(client, client->timeout) : 0;
  if (status) return status;
  psk_begin(client, "forget stream", stream);
  status = psk_check_name(client, "stream", stream);
  if (!status) status = remove_entries(client, stream);
  if (!status) status = unlink_stream(client, stream);
  if (!status) psk_forget_series(client, stream);
  return status;
}

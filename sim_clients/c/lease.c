// Puts through shared memory: room is leased, the array copied into it, once, and a small command makes it a
// tensor.
//
// An array that lies in a lease of a view is not copied. A put brings the lease of the next one of its size,
// where such a size has been put before, so that a steady put costs one round trip. Where there is no room a
// put waits, by the time of the call; that of a snapshot waits briefly and goes through the socket, for
// whether there is room in a stream is for the stream's policy to say. What the server refuses for another
// reason than the tensor itself goes through the socket.

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"

static const size_t kMostAhead = (size_t)4 << 20;  // larger ones: a round trip is nothing beside the copy
static const int kOldest = 16;                     // puts that a lease waits for its size
static const double kReserve = 0.05;               // of the time that is left, for the answer to come

enum { kArenaShare = 64, kRoundedTo = 64 };

psk_link* psk_shared_link(penstock_client* client, const char* first, const char* second, const char* third) {
  psk_cluster* cluster = &client->cluster;
  psk_link* link = NULL;
  if (!client->shared_from || cluster->n_links == 0) return NULL;
  if (!cluster->on) {
    link = cluster->links[0];
  } else {
    char key[512];
    size_t length = strlen(first) + strlen(second) + strlen(third);
    if (length >= sizeof key) return NULL;
    strcat(strcat(strcpy(key, first), second), third);
    link = cluster->of_slot[psk_slot(key, length)];
  }
  return link && link->arena && link->arena->process == getpid() ? link : NULL;
}

// ---- Leases ahead

void psk_end_ahead(psk_link* link) {
  while (link->n_ahead > 0) psk_hold_end(link->ahead[--link->n_ahead]);
}

static psk_hold* take_ahead(psk_link* link, size_t bytes) {
  int best = -1;
  for (int i = 0; i < link->n_ahead; i++) {
    size_t room = link->ahead[i]->bytes;
    if (room >= bytes && room / 2 <= bytes && (best < 0 || room < link->ahead[best]->bytes)) best = i;
  }
  if (best < 0) return NULL;
  psk_hold* hold = link->ahead[best];
  link->ahead[best] = link->ahead[--link->n_ahead];
  return hold;
}

static void age_ahead(psk_link* link) {
  for (int i = link->n_ahead - 1; i >= 0; i--) {
    if (++link->ahead[i]->age <= kOldest) continue;
    psk_hold_end(link->ahead[i]);
    link->ahead[i] = link->ahead[--link->n_ahead];
  }
}

static void keep_ahead(psk_link* link, psk_hold* hold) {
  if (!hold) return;
  if (link->n_ahead < PSK_AHEAD)
    link->ahead[link->n_ahead++] = hold;
  else
    psk_hold_end(hold);
}

// How large a lease a put of so many bytes is to bring; 0: none.
static size_t wanted_ahead(psk_link* link, size_t bytes, int already) {
  int seen = 0;
  for (int i = 0; i < PSK_AHEAD; i++) seen |= link->sizes[i] == bytes;
  if (!seen) link->sizes[link->n_sizes++ % PSK_AHEAD] = bytes;
  if (!seen || bytes > kMostAhead || !link->arena || bytes > link->arena->bytes / kArenaShare) return 0;
  return link->n_ahead + already < PSK_AHEAD ? bytes : 0;
}

// ---- Leasing

typedef struct request {
  size_t bytes;
  psk_hold* hold;
  int full;
  char text[1024];  // why
} request;

static int reply_lease(penstock_client* client, psk_link* link, psk_command* command,
                       const psk_token* token) {
  static const char kFull[] = "ARENAFULL";
  request* asked = command->context;
  if (token->kind == ':') {
    psk_hold_end(asked->hold);  // of an attempt that broke off
    asked->hold = link->arena ? psk_hold_new(link->arena, token->number, asked->bytes, 1) : NULL;
    return 0;
  }
  if (token->kind != '-') return psk_garbage(client, link, "a lease");
  size_t length = token->length < sizeof asked->text ? token->length : sizeof asked->text - 1;
  memcpy(asked->text, token->text, length);
  asked->text[length] = '\0';
  asked->full = !strncmp(asked->text, kFull, sizeof kFull - 1);
  if (!asked->full && !strncmp(asked->text, "NOPERM", 6)) link->no_leases = 1;
  return 0;
}

// `milliseconds` below 0: do not wait.
static void ask(penstock_client* client, psk_link* link, request* asked, int64_t milliseconds) {
  psk_command* command = psk_command_begin(client, milliseconds < 0 ? 2 : 4, reply_lease, asked);
  command->to = link;
  asked->full = 0;
  psk_word(client, "PENSTOCK.LEASE");
  psk_word_number(client, (int64_t)asked->bytes);
  if (milliseconds < 0) return;
  psk_word(client, "TIMEOUT");
  psk_word_number(client, milliseconds);
}

// How long a snapshot's array waits for room: as long as it takes through the socket instead. Memory that the
// server is just taking from the system is there by then.
static double socket_time(size_t bytes) { return 1e-3 + 1e-9 * (double)bytes; }

// Wait for room, by the deadline of the call, or briefly: then to find none is no error.
static int wait_for_room(penstock_client* client, psk_link* link, request* asked, const char* name,
                         int briefly) {
  psk_end_ahead(link);
  psk_again(client);
  psk_arena_flush(client);
  double left = client->deadline - psk_now();
  double most = briefly ? socket_time(asked->bytes) : left * (1 - kReserve);
  ask(client, link, asked, left > 0 ? (int64_t)(1e3 * (most < left ? most : left)) : 0);
  int status = psk_run(client);
  return !status && asked->full && !briefly ? psk_fail(client, PENSTOCK_FULL, name, "%s", asked->text)
                                            : status;
}

psk_hold* psk_lease_block(penstock_client* client, psk_link* link, size_t bytes, const char* name,
                          int* status) {
  request asked = {.bytes = bytes, .hold = take_ahead(link, bytes)};
  *status = 0;
  if (asked.hold) return asked.hold;
  psk_again(client);
  psk_arena_flush(client);
  ask(client, link, &asked, -1);
  *status = psk_run(client);
  if (!*status && asked.full) *status = wait_for_room(client, link, &asked, name, 0);
  if (*status) psk_hold_end(asked.hold);
  return *status ? NULL : asked.hold;
}

// Give up what belongs to the memory of a server that has been replaced meanwhile.
static void drop_strangers(const psk_link* link, psk_put* puts, int count) {
  for (int i = 0; i < count; i++) {
    psk_put* put = &puts[i];
    if (!put->hold || put->hold->arena == link->arena) continue;
    if (!put->in_place) psk_hold_end(put->hold);  // else it is the caller's, who may read it
    put->hold = NULL;
    put->in_place = 0;
  }
}

static int held(const psk_put* puts, int count) {
  int found = 0;
  for (int i = 0; i < count; i++) found += puts[i].hold != NULL;
  return found;
}

// Lease what is still without room, all of it in one round trip where there is room. Who waits holds nothing:
// where another array of this put has its room already, one that finds none goes through the socket.
static int lease_all(penstock_client* client, psk_link* link, psk_put* puts, int count, int missing,
                     int may_wait) {
  request* asked = calloc((size_t)missing, sizeof *asked);
  if (!asked) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for %d leases", missing);
  psk_again(client);
  psk_arena_flush(client);
  for (int i = 0, k = 0; i < count; i++) {
    if (!puts[i].shared || puts[i].hold) continue;
    asked[k].bytes = puts[i].bytes;
    ask(client, link, &asked[k++], -1);
  }
  int status = psk_run(client);
  for (int i = 0, k = 0; i < count; i++) {
    if (!puts[i].shared || puts[i].hold) continue;
    request* one = &asked[k++];
    int alone = k == missing && !held(puts, count);
    if (!status && one->full && alone) status = wait_for_room(client, link, one, puts[i].name, !may_wait);
    puts[i].hold = one->hold;
  }
  free(asked);
  drop_strangers(link, puts, count);
  return status;
}

static void copy_in(psk_put* put) {
  psk_walk walk;
  psk_walk_over(&walk, put->array);
  psk_arena_touch(put->hold->arena, put->hold->offset, put->bytes);
  char* to = psk_hold_data(put->hold);
  if (psk_walk_is_plain(&walk))
    memcpy(to, put->array->data, put->bytes);
  else
    psk_gather(&walk, to, put->bytes);
}

// ---- Puts

void psk_put_of(psk_put* put, const char* name, const penstock_array* array) {
  *put = (psk_put){
      .name = name, .array = array, .bytes = psk_nbytes(array->dtype, array->rank, array->dims), .shared = 1};
}

// The lease of a view that this array is, if no other put of the message has it.
static psk_hold* in_place(const psk_link* link, const psk_put* puts, int i) {
  psk_walk walk;
  psk_walk_over(&walk, puts[i].array);
  psk_hold* hold =
      psk_walk_is_plain(&walk) ? psk_hold_at(link->arena, puts[i].array->data, puts[i].bytes) : NULL;
  for (int k = 0; k < i; k++)
    if (puts[k].hold == hold) return NULL;
  return hold;
}

static int is_shared(const penstock_client* client, const psk_link* link, size_t bytes) {
  return link && link->arena && !link->no_leases && bytes >= client->shared_from &&
         bytes < link->arena->bytes;
}

size_t psk_bytes_by_socket(penstock_client* client, const char* entry, const penstock_field* fields,
                           int count) {
  const psk_link* link = psk_shared_link(client, entry, "", "");
  size_t sum = 0;
  for (int i = 0; i < count; i++) {
    size_t bytes = psk_nbytes(fields[i].array.dtype, fields[i].array.rank, fields[i].array.dims);
    if (!is_shared(client, link, bytes)) sum += bytes;
  }
  return sum;
}

size_t psk_puts_by_socket(const psk_put* puts, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; i++)
    if (!puts[i].shared) bytes += puts[i].bytes;
  return bytes;
}

int psk_puts_prepare(penstock_client* client, psk_link* link, psk_put* puts, int count, int may_wait) {
  int missing = 0;
  if (link && link->arena && !link->no_leases) age_ahead(link);
  for (int i = 0; i < count; i++) {
    psk_put* put = &puts[i];
    put->shared = put->shared && is_shared(client, link, put->bytes);
    if (!put->shared) continue;
    put->link = link;
    put->hold = in_place(link, puts, i);
    put->in_place = put->hold != NULL;
    if (!put->hold) put->hold = take_ahead(link, put->bytes);
    missing += !put->hold;
  }
  int status = missing ? lease_all(client, link, puts, count, missing, may_wait) : 0;
  for (int i = 0, ahead = 0; !status && i < count; i++) {
    psk_put* put = &puts[i];
    put->shared = put->hold != NULL;
    if (!put->shared) continue;
    if (!put->in_place) copy_in(put);
    put->ahead = wanted_ahead(link, put->bytes, ahead);
    ahead += put->ahead > 0;
  }
  psk_again(client);
  return status;
}

static void done(psk_put* put) {
  if (put->in_place)
    psk_hold_put(put->hold);
  else
    psk_hold_forget(put->hold);
  put->hold = NULL;
}

// Whether the error is about shared memory, and not about the tensor or the key.
static int is_about_sharing(const psk_token* token) {
  return psk_begins(token, "NOPERM") || psk_begins(token, "ERR unknown command") ||
         psk_begins(token, "ERR this server") || psk_begins(token, "ERR this connection") ||
         psk_begins(token, "ERR the lease at offset");
}

static int reply_put(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  psk_put* put = command->context;
  int same = link == put->link && put->hold && link->arena == put->hold->arena;
  if (token->kind == '-') {
    // The answer to the first attempt was lost with its connection: the key may have it, or may not. So it
    // goes again, and the block is not given back, which the server would refuse with all others of the
    // message.
    if (same && command->sent > 1 && psk_begins(token, "ERR this connection has no lease") &&
        !put->in_place) {
      psk_hold_forget(put->hold);
      put->hold = NULL;
    }
    if (!is_about_sharing(token)) return psk_refused(client, token->text, token->length);
    if (psk_begins(token, "NOPERM")) link->no_leases = 1;
    put->again = 1;
    return 0;
  }
  if (token->kind == ':' && same)
    keep_ahead(link, psk_hold_new(link->arena, token->number, put->ahead, 1));
  else if (token->kind != '+' && (token->kind != '$' || token->number != -1))
    return psk_garbage(client, link, "the answer to a put");
  done(put);
  return 0;
}

void psk_put_command(penstock_client* client, psk_put* put, const char* first, const char* second,
                     const char* third) {
  const penstock_array* array = put->array;
  if (!put->shared) {
    psk_command_begin(client, 2 + psk_count_tensor_words(array), psk_reply_ok, NULL);
    psk_word(client, "AI.TENSORSET");
    psk_key(client, first, second, third, NULL);
    psk_tensor_words(client, array);
    return;
  }
  int words = 3 + array->rank + 2 + put->in_place + (put->ahead ? 2 : 0);
  psk_command* command = psk_command_begin(client, words, reply_put, put);
  command->settled = 1;
  command->arena = put->hold->arena;
  command->misplaced = &put->again;
  psk_word(client, "PENSTOCK.PUT");
  psk_key(client, first, second, third, NULL);
  psk_word(client, psk_wire_dtype(array->dtype));
  for (int i = 0; i < array->rank; i++) psk_word_number(client, array->dims[i]);
  psk_word(client, "OFFSET");
  psk_word_number(client, put->hold->offset);
  if (put->in_place) psk_word(client, "KEEP");
  if (!put->ahead) return;
  psk_word(client, "LEASE");
  psk_word_number(client, (int64_t)((put->ahead + kRoundedTo - 1) / kRoundedTo * kRoundedTo));
}

int psk_puts_again(psk_put* puts, int count) {
  int again = 0;
  for (int i = 0; i < count; i++) {
    if (!puts[i].again) continue;
    puts[i].again = puts[i].shared = 0;
    again = 1;
  }
  if (again) psk_puts_end(puts, count);
  return again;
}

void psk_puts_end(psk_put* puts, int count) {
  for (int i = 0; i < count; i++) {
    if (!puts[i].in_place) psk_hold_end(puts[i].hold);
    puts[i].hold = NULL;
  }
}

// Room in streams: how a snapshot gets its place, and how places become free. See docs/streams.md.
//
// A producer asks the shard of the stream for a place (PENSTOCK.RESERVE), and the shard that takes the
// tensors for memory (PENSTOCK.ROOM), in one round trip before the snapshot. While a stream is far from full
// both are promised ahead, in the replies to the snapshot before: then nothing is asked. A promise belongs to
// a connection. Where a place must be made first, the database names the snapshots that go; whoever is told
// so removes them from their shards and says that it has (PENSTOCK.FREED).

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// The place of the next snapshot of one stream.
struct psk_flow {
  psk_flow* next;
  char* stream;
  int has_promise;
  size_t bytes;
  psk_link* link;
  unsigned opened;  // how often the link had been when the promise was made
};

// Snapshots that go: their entries, and the position behind the last, 0 where there are none to go.
typedef struct removal {
  int64_t upto;
  char** entries;
  int count;
} removal;

typedef struct answer {
  char word[16];  // go, skip, spill, remove
  char* directory;
  removal removal;
} answer;

static const double kMargin = 1.0;  // s, at most, that the server's answer has before the call's deadline

void psk_free_flows(psk_flow* flows) {
  while (flows) {
    psk_flow* next = flows->next;
    free(flows->stream);
    free(flows);
    flows = next;
  }
}

static psk_flow* find_flow(penstock_client* client, const char* stream) {
  for (psk_flow* one = client->flows; one; one = one->next)
    if (!strcmp(one->stream, stream)) return one;
  psk_flow* made = calloc(1, sizeof *made);
  if (!made || !(made->stream = strdup(stream))) {
    free(made);
    psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for a stream");
    return NULL;
  }
  made->next = client->flows;
  return client->flows = made;
}

static void free_removal(removal* what) {
  psk_free_strings(what->entries, what->count);
  *what = (removal){0};
}

static void free_answer(answer* what) {
  free(what->directory);
  free_removal(&what->removal);
  *what = (answer){0};
}

// ---- Replies

static int read_text(penstock_client* client, psk_link* link, char** text) {
  psk_token token;
  int status = psk_next(client, link, &token);
  if (status) return status;
  if (token.kind != '$' || token.number < 0) return psk_garbage(client, link, "a text");
  *text = calloc(1, (size_t)token.number + 1);
  if (*text) return psk_body(client, link, &token, *text);
  status = psk_pass(client, link, &token);
  return status ? status : psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
}

static int read_removal(penstock_client* client, psk_link* link, int64_t elements, removal* what) {
  psk_token token;
  int status = psk_next(client, link, &token);
  if (status) return status;
  if (token.kind != ':' || elements < 1) return psk_garbage(client, link, "a position");
  what->upto = token.number;
  what->entries = calloc((size_t)elements, sizeof *what->entries);
  if (!what->entries) {
    client->hopeless = PSK_NO_MEMORY;
    return psk_link_broke(client, link, "no memory for names");
  }
  while (what->count < elements - 1) {
    status = read_text(client, link, &what->entries[what->count]);
    if (status) return status;
    what->count++;
  }
  return 0;
}

// [go], [skip], [spill, directory] or [remove, upto, entries ...], with an `answer` as context.
static int reply_answer(penstock_client* client, psk_link* link, psk_command* command,
                        const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '*' || token->number < 1) return psk_garbage(client, link, "an answer about a stream");
  answer* to = command->context;
  int64_t elements = token->number;
  free_answer(to);
  psk_token word;
  int status = psk_next(client, link, &word);
  if (!status) status = psk_body_text(client, link, &word, to->word, sizeof to->word);
  if (status) return status;
  if (!strcmp(to->word, "remove")) return read_removal(client, link, elements - 1, &to->removal);
  if (!strcmp(to->word, "spill") && elements == 2) return read_text(client, link, &to->directory);
  return elements == 1 ? 0 : psk_garbage(client, link, "an answer about a stream");
}

// Of PENSTOCK.ROOM: whether the link's server keeps room, with the bytes as context.
static int reply_room(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  int64_t kept = 0;
  psk_command inner = *command;
  inner.context = &kept;
  int status = psk_reply_integer(client, link, &inner, token);
  link->promised = !status && kept ? (size_t)(uintptr_t)command->context : 0;
  return status;
}

// Of PENSTOCK.ANNOUNCE: [position, whether the next one has its place], with the psk_flow as context.
static int reply_announced(penstock_client* client, psk_link* link, psk_command* command,
                           const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '*' || token->number != 2) return psk_garbage(client, link, "a position");
  psk_token position, promised;
  int status = psk_next(client, link, &position);
  if (!status) status = psk_next(client, link, &promised);
  if (status) return status;
  psk_flow* flow = command->context;
  flow->has_promise = promised.kind == ':' && promised.number > 0;
  flow->link = link;
  flow->opened = link->opened;
  return 0;
}

// ---- Removing what goes

typedef struct content {
  psk_bytes names, spilled;
} content;

// [names of tensors, where they were spilled to], each may be nil.
static int reply_content(penstock_client* client, psk_link* link, psk_command* command,
                         const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '*' || token->number != 2) return psk_garbage(client, link, "two texts");
  content* to = command->context;
  psk_bytes* parts[] = {&to->names, &to->spilled};
  for (int i = 0; i < 2; i++) {
    psk_token text;
    int status = psk_next(client, link, &text);
    if (status) return status;
    parts[i]->used = 0;
    if (text.kind != '$') return psk_garbage(client, link, "a text");
    if (text.number < 0) continue;
    free(parts[i]->at);
    *parts[i] = (psk_bytes){malloc((size_t)text.number + 1), 0, (size_t)text.number + 1};
    if (!parts[i]->at) {
      client->hopeless = PSK_NO_MEMORY;
      return psk_link_broke(client, link, "no memory for names");
    }
    status = psk_body(client, link, &text, parts[i]->at);
    if (status) return status;
    parts[i]->used = (size_t)text.number;
  }
  return 0;
}

static int ask_contents(penstock_client* client, const removal* what, content* contents) {
  psk_again(client);
  for (int i = 0; i < what->count; i++) {
    psk_command_begin(client, 4, reply_content, &contents[i]);
    psk_word(client, "HMGET");
    psk_key(client, what->entries[i], ".meta", NULL);
    psk_word(client, PSK_TENSOR_NAMES);
    psk_word(client, PSK_SPILLED);
  }
  return what->count ? psk_run(client) : 0;
}

// One command for each dataset, its keys all in one shard: it goes as a whole.
static int unlink_all(penstock_client* client, const removal* what, const content* contents,
                      int64_t* removed) {
  psk_again(client);
  for (int i = 0; i < what->count; i++) {
    int count = 0;
    char** names = psk_packed_strings(&contents[i].names, &count);
    if (!names) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for names");
    psk_command_begin(client, 2 + count, psk_reply_integer, removed);
    psk_word(client, "UNLINK");
    psk_key(client, what->entries[i], ".meta", NULL);
    for (int k = 0; k < count; k++) psk_word_joined(client, what->entries[i], ".", names[k], NULL);
    psk_free_strings(names, count);
  }
  return what->count ? psk_run(client) : 0;
}

// Remove the data of entries from the shards they are in. What is not there any more is fine.
static int remove_data(penstock_client* client, const removal* what) {
  content* contents = calloc((size_t)what->count + 1, sizeof *contents);
  if (!contents) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for names");
  int64_t removed = 0;
  int status = ask_contents(client, what, contents);
  for (int i = 0; !status && i < what->count; i++)
    if (contents[i].spilled.used) psk_remove_spilled(&contents[i].spilled);
  if (!status) status = unlink_all(client, what, contents, &removed);
  for (int i = 0; i < what->count; i++) {
    free(contents[i].names.at);
    free(contents[i].spilled.at);
  }
  free(contents);
  return status;
}

static void say_freed(penstock_client* client, const char* stream, int64_t upto, answer* next) {
  psk_command_begin(client, 3, reply_answer, next);
  psk_word(client, "PENSTOCK.FREED");
  psk_key(client, stream, NULL);
  psk_word_number(client, upto);
}

// Remove what an answer names, and what the answers to that name, until nothing is left.
static int remove_all(penstock_client* client, const char* stream, answer* next) {
  int status = 0;
  while (!status && next->removal.upto > 0) {
    int64_t upto = next->removal.upto;
    status = remove_data(client, &next->removal);
    if (status) break;
    psk_again(client);
    say_freed(client, stream, upto, next);
    status = psk_run(client);
  }
  return status;
}

// ---- Getting room

static int64_t milliseconds_left(const penstock_client* client) {
  double left = client->deadline - psk_now();
  double margin = 0.1 * left < kMargin ? 0.1 * left : kMargin;
  return left > margin ? (int64_t)((left - margin) * 1e3) + 1 : 1;
}

// Whether what a server has promised over a link holds: not where it has left since.
static int holds(psk_link* link) {
  if (psk_link_is_stale(link)) psk_link_close(link);
  return link->fd >= 0;
}

static int has_place(const psk_flow* flow, size_t bytes) {
  return flow->has_promise && flow->bytes >= bytes && holds(flow->link) && flow->link->opened == flow->opened;
}

// `looked`: a link that was just looked at.
static int has_memory(penstock_client* client, const char* entry, size_t bytes, const psk_link* looked) {
  psk_link* link = psk_link_of(client, entry);
  return link && link->promised >= bytes && (link == looked || holds(link));
}

static void ask_for_memory(penstock_client* client, const char* entry, size_t bytes, int may_wait) {
  psk_command_begin(client, may_wait ? 5 : 3, reply_room, (void*)(uintptr_t)bytes);
  psk_word(client, "PENSTOCK.ROOM");
  psk_key(client, entry, ".meta", NULL);
  psk_word_number(client, (int64_t)bytes);
  if (!may_wait) return;
  psk_word(client, "TIMEOUT");
  psk_word_number(client, milliseconds_left(client));
}

static void ask_for_place(penstock_client* client, const char* stream, const char* entry, size_t bytes,
                          answer* to) {
  psk_command_begin(client, 6, reply_answer, to);
  psk_word(client, "PENSTOCK.RESERVE");
  psk_key(client, stream, NULL);
  psk_word(client, entry);
  psk_word_number(client, (int64_t)bytes);
  psk_word(client, "TIMEOUT");
  psk_word_number(client, milliseconds_left(client));
}

// Ask, and make room as long as that is what the answers say.
static int find_place(penstock_client* client, const char* stream, const char* entry, size_t bytes,
                      answer* found) {
  answer next = {0};
  int64_t freed = -1;
  int status;
  do {
    psk_again(client);
    if (freed >= 0) say_freed(client, stream, freed, &next);
    ask_for_place(client, stream, entry, bytes, found);
    if (!has_memory(client, entry, bytes, NULL)) ask_for_memory(client, entry, bytes, 1);
    status = psk_run(client);
    if (!status && strcmp(found->word, "remove")) break;
    if (!status) status = remove_data(client, &found->removal);
    freed = found->removal.upto;
  } while (!status);
  free_answer(&next);
  return status;
}

static int find_memory(penstock_client* client, const char* entry, size_t bytes, const psk_link* looked) {
  if (has_memory(client, entry, bytes, looked)) return 0;
  psk_again(client);
  ask_for_memory(client, entry, bytes, 1);
  return psk_run(client);
}

static int take(const answer* found, psk_verdict* verdict) {
  verdict->outcome = !strcmp(found->word, "skip")    ? PENSTOCK_SKIPPED
                     : !strcmp(found->word, "spill") ? PENSTOCK_SPILLED
                                                     : PENSTOCK_STORED;
  if (found->directory && !(verdict->directory = strdup(found->directory))) return PENSTOCK_MEMORY;
  return 0;
}

int psk_reserve(penstock_client* client, const char* stream, const char* entry, size_t bytes,
                psk_verdict* verdict) {
  client->doing = "get room in the stream";
  client->subject = stream;
  *verdict = (psk_verdict){0};
  psk_flow* flow = find_flow(client, stream);
  if (!flow) return client->error.status;
  answer found = {0};
  int status = has_place(flow, bytes) ? find_memory(client, entry, bytes, flow->link)
                                      : find_place(client, stream, entry, bytes, &found);
  flow->has_promise = 0;
  if (!status && take(&found, verdict))
    status = psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for a name");
  free_answer(&found);
  client->deadline = psk_now() + client->timeout;
  return status;
}

void psk_release(penstock_client* client, const char* stream) {
  psk_error kept = client->error;
  if (client->interrupted || kept.status == PENSTOCK_UNAVAILABLE)
    return;  // with the connection it ends anyway
  psk_again(client);
  client->error.status = 0;
  psk_command_begin(client, 2, psk_reply_ok, NULL);
  psk_word(client, "PENSTOCK.UNRESERVE");
  psk_key(client, stream, NULL);
  (void)psk_run(client);  // a server that has left has released it
  client->error = kept;
}

void psk_room_ahead(penstock_client* client, const char* entry, size_t bytes) {
  ask_for_memory(client, entry, bytes, 0);
}

void psk_announce(penstock_client* client, const char* stream, const char* entry, int64_t bytes) {
  psk_flow* flow = find_flow(client, stream);
  if (!flow) {
    client->no_memory = 1;
    return;
  }
  flow->has_promise = 0;
  flow->bytes = bytes < 0 ? 0 : (size_t)bytes;
  psk_command_begin(client, bytes < 0 ? 4 : 6, reply_announced, flow)->only_once = 1;
  psk_word(client, "PENSTOCK.ANNOUNCE");
  psk_key(client, stream, NULL);
  psk_word(client, entry);
  if (bytes < 0) {
    psk_word(client, "SPILLED");
    return;
  }
  psk_word_number(client, bytes);
  psk_word(client, "NEXT");
  psk_word_number(client, bytes);
}

// ---- Bounds and meters

static const char* const kPolicies[] = {"block", "drop_oldest", "drop_newest", "thin", "spill"};

enum { kPolicyCount = sizeof kPolicies / sizeof *kPolicies };

static int check_bound(penstock_client* client, const char* stream, const penstock_bound* bound) {
  int status = psk_check_name(client, "stream", stream);
  if (status) return status;
  if (!bound) return psk_fail(client, PENSTOCK_INVALID, stream, "the bound must not be NULL");
  if ((int)bound->policy < 0 || (int)bound->policy >= kPolicyCount)
    return psk_fail(client, PENSTOCK_INVALID, stream, "%d is no policy; use one of penstock_policy",
                    (int)bound->policy);
  if (bound->items < 0 || bound->bytes < 0 || bound->keep_every < 0 || !(bound->wait >= 0))
    return psk_fail(client, PENSTOCK_INVALID, stream, "no number of a bound is less than 0");
  return 0;
}

static void option(penstock_client* client, const char* keyword, int64_t value) {
  if (!value) return;
  psk_word(client, keyword);
  psk_word_number(client, value);
}

int penstock_bound_stream(penstock_client* client, const char* stream, const penstock_bound* bound) {
  psk_begin(client, "bound the stream", stream);
  int status = check_bound(client, stream, bound);
  if (status) return status;
  int64_t wait = bound->wait > 0 ? llround(bound->wait * 1e3) : 0;
  if (bound->wait > 0 && wait == 0) wait = 1;
  int options = !!bound->items + !!bound->bytes + !!bound->keep_every + !!bound->directory + !!wait;
  psk_command_begin(client, 4 + 2 * options, psk_reply_ok, NULL);
  psk_word(client, "PENSTOCK.BOUND");
  psk_key(client, stream, NULL);
  psk_word(client, "POLICY");
  psk_word(client, kPolicies[bound->policy]);
  option(client, "ITEMS", bound->items);
  option(client, "BYTES", bound->bytes);
  option(client, "EVERY", bound->keep_every);
  option(client, "WAIT", wait);
  if (bound->directory) {
    psk_word(client, "DIRECTORY");
    psk_word(client, bound->directory);
  }
  return psk_run(client);
}

static int ask_meter(penstock_client* client, const char* stream, psk_metadata_list* meter) {
  psk_begin(client, "read the meter of stream", stream);
  int status = psk_check_name(client, "stream", stream);
  if (status) return status;
  psk_command_begin(client, 2, psk_reply_metadata, meter);
  psk_word(client, "PENSTOCK.METER");
  psk_key(client, stream, NULL);
  return psk_run(client);
}

// The value of a field as text, to be freed. NULL: no memory.
static char* text_of(const psk_metadata* field) {
  return field->packed.at ? strndup(field->packed.at, field->packed.used) : strdup("");
}

int penstock_stream_meter(penstock_client* client, const char* stream,
                          void (*each)(void* context, const char* name, const char* value), void* context) {
  psk_metadata_list meter = {0};
  int status = ask_meter(client, stream, &meter);
  for (int i = 0; !status && i < meter.count; i++) {
    char* text = text_of(&meter.of[i]);
    if (!text)
      status = psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for a meter");
    else
      each(context, meter.of[i].name, text);
    free(text);
  }
  psk_free_metadata(&meter);
  return status;
}

static int64_t number_in(const psk_metadata_list* meter, const char* name) {
  const psk_metadata* field = psk_find_metadata(meter, name);
  char* text = field ? text_of(field) : NULL;
  int64_t number = text ? strtoll(text, NULL, 10) : 0;
  free(text);
  return number;
}

static int64_t slowest(const psk_metadata_list* meter) {
  static const char kConsumer[] = "consumer:";
  int64_t least = -1;
  for (int i = 0; i < meter->count; i++) {
    if (strncmp(meter->of[i].name, kConsumer, sizeof kConsumer - 1)) continue;
    int64_t position = number_in(meter, meter->of[i].name);
    if (least < 0 || position < least) least = position;
  }
  return least;
}

static double part(int64_t of, int64_t bound) { return bound > 0 ? (double)of / (double)bound : 0; }

int penstock_stream_fill(penstock_client* client, const char* stream, penstock_fill* fill) {
  psk_metadata_list meter = {0};
  int status = ask_meter(client, stream, &meter);
  if (!status) {
    *fill = (penstock_fill){
        .items = number_in(&meter, "items"),
        .bytes = number_in(&meter, "bytes"),
        .announced = number_in(&meter, "announced"),
        .kept_from = number_in(&meter, "kept_from"),
        .dropped = number_in(&meter, "dropped"),
        .skipped = number_in(&meter, "skipped"),
        .spilled = number_in(&meter, "spilled"),
        .waiting = number_in(&meter, "waiting"),
        .acknowledged = slowest(&meter),
    };
    double items = part(fill->items, number_in(&meter, "bound_items"));
    double bytes = part(fill->bytes, number_in(&meter, "bound_bytes"));
    fill->level = items > bytes ? items : bytes;
  }
  psk_free_metadata(&meter);
  return status;
}

int psk_explain_missing(penstock_client* client, const char* stream, int64_t position, const char* name) {
  psk_error kept = client->error;
  psk_metadata_list meter = {0};
  int status = ask_meter(client, stream, &meter);
  int64_t from = number_in(&meter, "kept_from");
  const psk_metadata* policy = psk_find_metadata(&meter, "policy");
  char* text = policy ? text_of(policy) : NULL;
  psk_free_metadata(&meter);
  if (!status && text && position < from) {
    psk_fail(client, PENSTOCK_DROPPED, name,
             "%s: it was at %lld of the stream '%s', which keeps from %lld on", text, (long long)position,
             stream, (long long)from);
  } else if (!status) {
    client->error = kept;
  }
  free(text);
  return client->error.status;
}

// ---- Consumers

static int check_consumer(penstock_client* client, const char* stream, const char* consumer) {
  int status = psk_check_name(client, "stream", stream);
  return status ? status : psk_check_name(client, "consumer", consumer);
}

int penstock_subscribe(penstock_client* client, const char* stream, const char* consumer, int64_t* position) {
  psk_begin(client, "subscribe to the stream", stream);
  int status = check_consumer(client, stream, consumer);
  if (status) return status;
  int64_t found = 0;
  psk_command_begin(client, 3, psk_reply_integer, &found);
  psk_word(client, "PENSTOCK.SUBSCRIBE");
  psk_key(client, stream, NULL);
  psk_word(client, consumer);
  status = psk_run(client);
  if (!status && position) *position = found;
  return status;
}

int penstock_acknowledge(penstock_client* client, const char* stream, const char* consumer,
                         int64_t position) {
  psk_begin(client, "acknowledge in the stream", stream);
  int status = check_consumer(client, stream, consumer);
  if (status) return status;
  answer next = {0};
  psk_command_begin(client, 4, reply_answer, &next);
  psk_word(client, "PENSTOCK.ACK");
  psk_key(client, stream, NULL);
  psk_word(client, consumer);
  psk_word_number(client, position);
  status = psk_run(client);
  if (!status) status = remove_all(client, stream, &next);
  free_answer(&next);
  return status;
}

int penstock_unsubscribe(penstock_client* client, const char* stream, const char* consumer) {
  psk_begin(client, "leave the stream", stream);
  int status = check_consumer(client, stream, consumer);
  if (status) return status;
  answer next = {0};
  psk_command_begin(client, 3, reply_answer, &next);
  psk_word(client, "PENSTOCK.UNSUBSCRIBE");
  psk_key(client, stream, NULL);
  psk_word(client, consumer);
  status = psk_run(client);
  if (!status) status = remove_all(client, stream, &next);
  free_answer(&next);
  return status;
}

// Room in streams: how a snapshot gets its place. See docs/streams.md.
//
// A producer asks the shard of the stream for a place (PENSTOCK.RESERVE), and the shard that takes the
// tensors for memory (PENSTOCK.ROOM), in one round trip before the snapshot. While a stream is far from full
// both are promised ahead, in the replies to the snapshot before: then nothing is asked. A promise belongs to
// a connection. Where a place must be made first, the database names the snapshots that go, see removal.c.

#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The place of the next snapshot of one stream.
struct psk_flow {
  psk_flow* next;
  char* stream;
  int has_promise;
  size_t bytes;
  psk_link* link;
  unsigned opened;  // how often the link had been when the promise was made
  int64_t keeps;    // the mark of the contract that snapshots keep
  int64_t has;      // of the one the stream has, which agrees with it
};

static const double kMargin = 1.0;   // s, at most, that the server's answer has before the call's deadline
static const double kLongest = 1e9;  // s, that a server waits

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

// Of PENSTOCK.ROOM: whether the link's server keeps room, with the bytes as context.
static int reply_room(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  int64_t kept = 0;
  psk_command inner = *command;
  inner.context = &kept;
  int status = psk_reply_integer(client, link, &inner, token);
  link->promised = !status && kept ? (size_t)(uintptr_t)command->context : 0;
  return status;
}

// Whether an error says what is to be done about it.
static int takes_error(psk_news* news, const psk_token* token) {
  int gone = psk_begins(token, "GONE "), disagreed = psk_begins(token, "DISAGREED ");
  news->gone |= gone;
  news->disagreed |= disagreed;
  return gone || disagreed;
}

// Of PENSTOCK.COMPLETE, with the psk_news as context.
static int reply_complete(penstock_client* client, psk_link* link, psk_command* command,
                          const psk_token* token) {
  if (token->kind == '-' && takes_error(command->context, token)) return 0;
  return psk_reply_ok(client, link, command, token);
}

// Of PENSTOCK.ANNOUNCE: [position, whether the next one has its place], with the psk_news as context.
static int reply_announced(penstock_client* client, psk_link* link, psk_command* command,
                           const psk_token* token) {
  psk_news* news = command->context;
  if (token->kind == '-')
    return takes_error(news, token) ? 0 : psk_refused(client, token->text, token->length);
  if (token->kind != '*' || token->number != 2) return psk_garbage(client, link, "a position");
  psk_token position, promised;
  int status = psk_next(client, link, &position);
  if (!status) status = psk_next(client, link, &promised);
  if (status) return status;
  news->announced = 1;
  psk_flow* flow = find_flow(client, news->stream);
  if (!flow) return client->error.status;
  flow->has_promise = promised.kind == ':' && promised.number > 0;
  flow->link = link;
  flow->opened = link->opened;
  return 0;
}

// ---- Getting room

static int64_t milliseconds_left(const penstock_client* client) {
  double left = client->deadline - psk_now();
  double margin = 0.1 * left < kMargin ? 0.1 * left : kMargin;
  if (left > kLongest) return (int64_t)(kLongest * 1e3);
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

// `look`: whether the link's server is still there, too.
static int has_memory(penstock_client* client, const char* entry, size_t bytes, int look) {
  if (bytes == 0) return 1;
  psk_link* link = psk_link_of(client, entry);
  return link && link->promised >= bytes && (!look || holds(link));
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
                          psk_answer* to) {
  psk_command_begin(client, 6, psk_reply_answer, to);
  psk_word(client, "PENSTOCK.RESERVE");
  psk_key(client, stream, NULL);
  psk_word(client, entry);
  psk_word_number(client, (int64_t)bytes);
  psk_word(client, "TIMEOUT");
  psk_word_number(client, milliseconds_left(client));
}

// Ask, and make room as long as that is what the answers say.
static int find_place(penstock_client* client, const char* stream, const char* entry, psk_size size,
                      psk_answer* found) {
  psk_answer next = {0};
  int64_t freed = -1;
  int status;
  do {
    psk_again(client);
    if (freed >= 0) psk_say_freed(client, stream, freed, &next);
    ask_for_place(client, stream, entry, size.all, found);
    if (!has_memory(client, entry, size.by_socket, 1)) ask_for_memory(client, entry, size.by_socket, 1);
    status = psk_run(client);
    if (!status && strcmp(found->word, "remove")) break;
    if (!status) status = psk_remove_datasets(client, stream, &found->entries, 0);
    freed = found->upto;
  } while (!status);
  psk_free_answer(&next);
  return status;
}

int psk_find_memory(penstock_client* client, const char* entry, size_t bytes) {
  if (has_memory(client, entry, bytes, 0)) return 0;
  psk_again(client);
  ask_for_memory(client, entry, bytes, 1);
  return psk_run(client);
}

// `looked`: a link that was just looked at.
static int look_for_memory(penstock_client* client, const char* entry, size_t bytes, const psk_link* looked) {
  psk_link* link = bytes ? psk_link_of(client, entry) : NULL;
  if (link && link != looked && link->promised >= bytes) (void)holds(link);
  return psk_find_memory(client, entry, bytes);
}

static int take(const psk_answer* found, psk_verdict* verdict) {
  verdict->outcome = !strcmp(found->word, "skip")    ? PENSTOCK_SKIPPED
                     : !strcmp(found->word, "spill") ? PENSTOCK_SPILLED
                                                     : PENSTOCK_STORED;
  if (found->directory && !(verdict->directory = strdup(found->directory))) return PENSTOCK_MEMORY;
  return 0;
}

int psk_reserve(penstock_client* client, const char* stream, const char* entry, psk_size size,
                psk_verdict* verdict) {
  client->doing = "get room in the stream";
  client->subject = stream;
  *verdict = (psk_verdict){0};
  psk_flow* flow = find_flow(client, stream);
  if (!flow) return client->error.status;
  psk_answer found = {0};
  int status = has_place(flow, size.all) ? look_for_memory(client, entry, size.by_socket, flow->link)
                                         : find_place(client, stream, entry, size, &found);
  flow->has_promise = 0;
  if (!status && take(&found, verdict))
    status = psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for a name");
  psk_free_answer(&found);
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

static int64_t mark_for(const psk_flow* flow, const char* contract) {
  int64_t mark = psk_contract_mark(contract);
  return mark == flow->keeps ? flow->has : mark;
}

int psk_agree_again(penstock_client* client, const char* snapshot, const psk_news* news) {
  psk_flow* flow = find_flow(client, news->stream);
  if (!flow) return client->error.status;
  char* agreed = NULL;
  int status = psk_contract_agree(client, news->stream, news->contract, &agreed);
  if (!status) status = psk_contract_differs(client, news->stream, snapshot, agreed, news->contract);
  if (!status) {
    flow->keeps = psk_contract_mark(news->contract);
    flow->has = psk_contract_mark(agreed);
  }
  free(agreed);
  return status;
}

// In a cluster the snapshot may be in another shard than its stream.
static void complete(penstock_client* client, psk_news* news) {
  psk_command_begin(client, 2, reply_complete, news);
  psk_word(client, "PENSTOCK.COMPLETE");
  psk_key(client, news->entry, ".meta", NULL);
}

void psk_announce(penstock_client* client, psk_news* news) {
  psk_flow* flow = find_flow(client, news->stream);
  psk_again(client);
  news->gone = news->disagreed = 0;
  if (!flow) {
    client->no_memory = 1;
    return;
  }
  int apart = client->cluster.on, spilled = news->bytes < 0;
  if (apart) complete(client, news);
  if (news->announced) return;
  flow->has_promise = 0;
  flow->bytes = spilled ? 0 : (size_t)news->bytes;
  int words = 6 + (apart ? 0 : 2) + (spilled ? 0 : 2);
  psk_command_begin(client, words, reply_announced, news)->only_once = 1;
  psk_word(client, "PENSTOCK.ANNOUNCE");
  psk_key(client, news->stream, NULL);
  psk_word(client, news->entry);
  if (spilled)
    psk_word(client, "SPILLED");
  else
    psk_word_number(client, news->bytes);
  if (!apart) {
    psk_word(client, "COMPLETE");
    psk_word_joined(client, news->entry, ".meta", NULL);
  }
  psk_word(client, "AGREED");
  psk_word_number(client, mark_for(flow, news->contract));
  if (spilled) return;
  psk_word(client, "NEXT");
  psk_word_number(client, news->bytes);
}

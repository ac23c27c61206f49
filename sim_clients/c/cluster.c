// Which shard a key lives in. The map of slots is asked of the cluster, kept, and asked again when it is
// wrong.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kPolynomial = 0x1021 };

static const double kBriefly = 1.0;

static unsigned crc16_step(unsigned crc, unsigned char byte) {
  crc ^= (unsigned)byte << 8;
  for (int bit = 0; bit < 8; bit++) crc = (crc & 0x8000) ? (crc << 1) ^ kPolynomial : crc << 1;
  return crc & 0xffff;
}

// CRC-16/XMODEM, as the specification of Redis Cluster has it.
static unsigned crc16(const char* bytes, size_t length) {
  unsigned crc = 0;
  for (size_t i = 0; i < length; i++) crc = crc16_step(crc, (unsigned char)bytes[i]);
  return crc;
}

int psk_slot(const char* key, size_t length) {
  const char* open = memchr(key, '{', length);
  if (open) {
    const char* tag = open + 1;
    const char* close = memchr(tag, '}', length - (size_t)(tag - key));
    if (close && close > tag) return (int)(crc16(tag, (size_t)(close - tag)) % PSK_SLOTS);
  }
  return (int)(crc16(key, length) % PSK_SLOTS);
}

// The two bytes whose CRC is a slot of the range, the lowest that needs no character that has a meaning in
// keys or patterns. SmartRedis stores the models of a shard as `{xx}.name`, and so do we.
static void find_tag(psk_range* range) {
  for (int slot = range->low; slot <= range->high; slot++) {
    for (unsigned first = 0; first < 256; first++) {
      for (unsigned second = 0; second < 256; second++) {
        char tag[2] = {(char)first, (char)second};
        if ((int)crc16(tag, 2) != slot) continue;
        if (memchr(tag, '}', 2) || memchr(tag, '?', 2) || memchr(tag, '*', 2)) continue;
        memcpy(range->tag, tag, 2);
        return;
      }
    }
  }
}

psk_link* psk_link_to(penstock_client* client, const psk_endpoint* endpoint) {
  psk_cluster* cluster = &client->cluster;
  for (int i = 0; i < cluster->n_links; i++) {
    const psk_endpoint* known = &cluster->links[i]->endpoint;
    if (known->port == endpoint->port && !strcmp(known->host, endpoint->host)) return cluster->links[i];
  }
  psk_link** more = realloc(cluster->links, (size_t)(cluster->n_links + 1) * sizeof *more);
  if (!more) return NULL;
  cluster->links = more;
  psk_link* link = psk_link_new(endpoint);
  if (link) more[cluster->n_links++] = link;
  return link;
}

// ---- The answer to CLUSTER SLOTS: [low, high, [host, port, ...], replicas ...] for each range

typedef struct slots_reply {
  psk_range* ranges;
  int count;
} slots_reply;

static int expect(penstock_client* client, psk_link* link, psk_token* token, char kind) {
  int status = psk_next(client, link, token);
  if (!status && token->kind != kind) status = psk_garbage(client, link, "a map of slots");
  return status;
}

static int read_master(penstock_client* client, psk_link* link, psk_endpoint* endpoint) {
  psk_token array, token;
  int status = expect(client, link, &array, '*');
  if (!status) status = expect(client, link, &token, '$');
  if (!status) status = psk_body_text(client, link, &token, endpoint->host, sizeof endpoint->host);
  if (!status) status = expect(client, link, &token, ':');
  if (status) return status;
  if (array.number < 2 || token.number < 1 || token.number > 65535)
    return psk_garbage(client, link, "a map of slots");
  endpoint->port = (int)token.number;
  // A server that does not know its own name is the one that was asked.
  if (!*endpoint->host || !strcmp(endpoint->host, "?")) *endpoint = link->endpoint;
  for (int64_t i = 2; !status && i < array.number; i++) {
    status = psk_next(client, link, &token);
    if (!status) status = psk_pass(client, link, &token);
  }
  return status;
}

static int read_range(penstock_client* client, psk_link* link, psk_range* range) {
  psk_token array, low, high;
  int status = expect(client, link, &array, '*');
  if (!status) status = expect(client, link, &low, ':');
  if (!status) status = expect(client, link, &high, ':');
  if (status) return status;
  if (array.number < 3 || low.number < 0 || high.number < low.number || high.number >= PSK_SLOTS)
    return psk_garbage(client, link, "a map of slots");
  psk_endpoint master;
  status = read_master(client, link, &master);
  for (int64_t i = 3; !status && i < array.number; i++) {  // replicas
    psk_token token;
    status = psk_next(client, link, &token);
    if (!status) status = psk_pass(client, link, &token);
  }
  if (status) return status;
  *range = (psk_range){.low = (int)low.number, .high = (int)high.number};
  range->link = psk_link_to(client, &master);
  if (!range->link) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a connection");
  find_tag(range);
  return 0;
}

static int read_slots(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  if (token->kind == '-') return PENSTOCK_REFUSED;  // no cluster, or one that may not be asked
  if (token->kind != '*' || token->number < 0 || token->number > PSK_SLOTS)
    return psk_garbage(client, link, "a map of slots");
  slots_reply* reply = command->context;
  reply->ranges = calloc((size_t)token->number + 1, sizeof *reply->ranges);
  if (!reply->ranges) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a map of slots");
  int64_t count = token->number;
  for (int64_t i = 0; i < count; i++) {
    int status = read_range(client, link, &reply->ranges[i]);
    if (status) return status;
    reply->count++;
  }
  return 0;
}

static int by_low(const void* one, const void* other) {
  return ((const psk_range*)one)->low - ((const psk_range*)other)->low;
}

static void take_map(psk_cluster* cluster, slots_reply* reply) {
  qsort(reply->ranges, (size_t)reply->count, sizeof *reply->ranges, by_low);
  free(cluster->ranges);
  cluster->ranges = reply->ranges;
  cluster->n_ranges = reply->count;
  memset(cluster->of_slot, 0, sizeof cluster->of_slot);
  for (int i = 0; i < cluster->n_ranges; i++) {
    const psk_range* range = &cluster->ranges[i];
    for (int slot = range->low; slot <= range->high; slot++) cluster->of_slot[slot] = range->link;
  }
}

int psk_cluster_ask(penstock_client* client, psk_link* link) {
  static const char kAsk[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";
  slots_reply reply = {0};
  psk_command command = {.reply = read_slots, .context = &reply};
  int status = psk_attempt(client, link, kAsk, sizeof kAsk - 1, &command);
  if (status || reply.count == 0) {
    free(reply.ranges);
    return status;
  }
  client->cluster.on = 1;
  take_map(&client->cluster, &reply);
  return 0;
}

// Ask one server, briefly: one that is off or hangs must not use up the time of those that answer.
static int ask_briefly(penstock_client* client, psk_link* link) {
  double deadline = client->deadline, patience = client->patience, soon = psk_now() + kBriefly;
  client->patience = patience < kBriefly ? patience : kBriefly;
  client->deadline = soon < deadline ? soon : deadline;
  int status = psk_link_open(client, link, client->deadline);
  if (!status) status = psk_cluster_ask(client, link);
  client->deadline = deadline;
  client->patience = patience;
  return status;
}

int psk_cluster_refresh(penstock_client* client) {
  int status = PSK_BROKEN, known = client->cluster.n_links, before = client->hopeless, no_redis = 0;
  for (int i = 0; i < known + client->address.count && status == PSK_BROKEN; i++) {
    psk_link* link =
        i < known ? client->cluster.links[i] : psk_link_to(client, &client->address.endpoints[i - known]);
    if (!link) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a connection");
    status = ask_briefly(client, link);
    no_redis |= client->hopeless == PSK_NO_REDIS;
  }
  client->hopeless = status == PSK_BROKEN && no_redis ? PSK_NO_REDIS : before;
  return status;
}

psk_link* psk_route(penstock_client* client, const psk_command* command) {
  psk_cluster* cluster = &client->cluster;
  if (command->to) return command->to;
  if (command->asked) return command->asked;
  if (!cluster->on) return cluster->links[0];
  if (command->slot >= 0) return cluster->of_slot[command->slot];
  return cluster->n_ranges ? cluster->ranges[0].link : NULL;
}

psk_link* psk_link_of(penstock_client* client, const char* key) {
  const psk_command command = {.slot = psk_slot(key, strlen(key))};
  return psk_route(client, &command);
}

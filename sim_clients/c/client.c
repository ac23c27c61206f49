// A client's life: connect, settings, close.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "internal.h"

#define VERSION "0.1.0"

enum { kFirstCommands = 16 };

const char* penstock_version(void) { return VERSION; }

const char* psk_dot(const char* prefix) { return *prefix ? "." : ""; }

// Return whether the system gave random bytes.
static int draw_token(penstock_client* client) {
  unsigned char drawn[16];
  if (getentropy(drawn, sizeof drawn)) return 0;
  for (size_t i = 0; i < sizeof drawn; i++) snprintf(client->token + 2 * i, 3, "%02x", drawn[i]);
  return 1;
}

static penstock_client* new_client(double timeout) {
  penstock_client* client = calloc(1, sizeof *client);
  if (!client) return NULL;
  client->commands = malloc(kFirstCommands * sizeof *client->commands);
  client->room_commands = kFirstCommands;
  client->written = strdup("");
  client->read = strdup("");
  client->timeout = PSK_DEFAULT_TIMEOUT;
  client->connect_timeout = timeout > 0 ? timeout : PSK_DEFAULT_CONNECT_TIMEOUT;
  client->queue_bytes = (size_t)256 << 20;
  client->shared_from = PSK_SHARED_FROM;
  if (client->commands && client->written && client->read && draw_token(client)) return client;
  psk_client_free(client);
  return NULL;
}

void psk_client_free(penstock_client* client) {
  for (int i = 0; i < client->cluster.n_links; i++)
    if (!psk_arena_leave(client->cluster.links[i])) psk_link_free(client->cluster.links[i]);
  free(client->cluster.links);
  free(client->cluster.ranges);
  free(client->address.text);
  free(client->address.endpoints);
  free(client->producer);
  free(client->written);
  free(client->read);
  free(client->found);
  free(client->text.at);
  free(client->parts);
  free(client->commands);
  psk_free_found(client);
  psk_free_batch(client->batch);
  psk_free_strings(client->found_names, client->n_found_names);
  psk_free_described(client->described);
  psk_free_series(client->series);
  psk_free_flows(client->flows);
  free(client);
}

static int replace(penstock_client* client, char** text, const char* with) {
  char* copy = strdup(with);
  if (!copy) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
  free(*text);
  *text = copy;
  return 0;
}

static int take_prefixes(penstock_client* client) {
  const char *written = getenv("SSKEYOUT"), *read = getenv("SSKEYIN");
  int status = replace(client, &client->written, written ? written : "");
  if (!status) status = replace(client, &client->read, read ? read : "");
  if (!status) client->read[strcspn(client->read, ",")] = '\0';
  return status;
}

// PENSTOCK_SHARED_MEMORY: 0 does without, another number is the size from which arrays go through it.
static int take_sharing(penstock_client* client) {
  const char* text = getenv("PENSTOCK_SHARED_MEMORY");
  if (!text || !*text) return 0;
  if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 18)
    return psk_fail(
        client, PENSTOCK_INVALID, NULL,
        "PENSTOCK_SHARED_MEMORY is '%s': 0 for no shared memory, or the number of bytes from which "
        "arrays go through it",
        text);
  client->shared_from = (size_t)strtoull(text, NULL, 10);
  return 0;
}

// Find a server that answers, and the map where it belongs to a cluster.
int psk_client_reach(penstock_client* client) {
  for (int i = 0; i < client->address.count; i++)
    if (!psk_link_to(client, &client->address.endpoints[i]))
      return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a connection");
  psk_begin(client, "connect", "");
  client->patience = client->connect_timeout;
  client->deadline = psk_now() + client->connect_timeout;
  double pause = 0.001;
  while (client->cluster.links[0]->endpoint.port && psk_cluster_refresh(client) == PSK_BROKEN) {
    if (client->error.status) return client->error.status;
    if (client->hopeless || psk_now() + pause > client->deadline)
      return psk_fail(client, PENSTOCK_UNAVAILABLE, NULL, "%s", client->why);
    psk_pause(client, pause);
    pause = pause < 0.1 ? 2 * pause : pause;
  }
  psk_command_begin(client, 1, psk_reply_ok, NULL);
  psk_word(client, "PING");
  return psk_run(client);
}

static int connect_to(penstock_client* client, const char* address) {
  psk_begin(client, "connect", "");
  int status = psk_identity(client);
  if (!status) status = psk_address_parse(client, address);
  if (!status) status = take_prefixes(client);
  if (!status) status = take_sharing(client);
  return status ? status : psk_client_reach(client);
}

int penstock_connect(const char* address, double timeout, penstock_client** client) {
  if (!client) return PENSTOCK_INVALID;
  *client = NULL;
  penstock_client* made = new_client(timeout);
  if (!made) return PENSTOCK_MEMORY;
  int status = connect_to(made, address);
  if (!status) {
    *client = made;
    return 0;
  }
  psk_remember(made);
  psk_client_free(made);
  return status;
}

penstock_client* psk_client_like(const penstock_client* client) {
  penstock_client* made = new_client(client->connect_timeout);
  if (!made) return NULL;
  made->timeout = client->timeout;
  made->shared_from = client->shared_from;
  if (psk_address_parse(made, client->address.text) || replace(made, &made->written, client->written) ||
      replace(made, &made->read, client->read) ||
      penstock_set_identity(made, client->producer, client->rank)) {
    psk_client_free(made);
    return NULL;
  }
  return made;
}

int penstock_close(penstock_client* client) {
  if (!client) return 0;
  int status = psk_async_stop(client);
  if (status) psk_remember(client);
  psk_client_free(client);
  return status;
}

int penstock_set_identity(penstock_client* client, const char* producer, int64_t rank) {
  psk_begin(client, "set the identity", "");
  int status = producer ? psk_check_name(client, "producer", producer) : 0;
  if (!status && producer) status = replace(client, &client->producer, producer);
  if (!status && rank < -1)
    status = psk_fail(client, PENSTOCK_INVALID, NULL, "a rank is 0 or more, got %lld", (long long)rank);
  if (!status && rank >= 0) client->rank = rank;
  return status;
}

const char* penstock_producer(const penstock_client* client) { return client->producer; }

int64_t penstock_rank(const penstock_client* client) { return client->rank; }

const char* penstock_transport(const penstock_client* client) {
  const psk_link* link = client->cluster.n_links ? client->cluster.links[0] : NULL;
  if (link && link->arena) return "shared memory";
  return link && link->endpoint.port ? "tcp" : "unix";
}

int penstock_set_timeout(penstock_client* client, double seconds) {
  psk_begin(client, "set the time-out", "");
  if (!(seconds > 0))
    return psk_fail(client, PENSTOCK_INVALID, NULL, "a time-out is more than 0 s, got %g", seconds);
  client->timeout = seconds;
  return 0;
}

int penstock_set_prefixes(penstock_client* client, const char* written, const char* read) {
  psk_begin(client, "set the prefixes", "");
  int status = written ? replace(client, &client->written, written) : 0;
  if (!status && read) status = replace(client, &client->read, read);
  return status;
}

void penstock_set_signal_check(penstock_client* client, int (*check)(void* context), void* context) {
  client->check = check;
  client->check_context = context;
}

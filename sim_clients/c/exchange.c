// Commands out, replies in.
//
// What was built is sent to the shards its keys live in, to all of them at once, and the replies are read in
// order. A command that was redirected, or that a server could not take just now, has not been executed and
// is sent again. One whose connection broke is sent again where it cannot have been executed, or where that
// would change nothing; with it all that stand behind it, so that what is written in an order stays in it.
// Time ends everything: the call's deadline, and the shorter one of reaching a server that is gone.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static const double kFirstPause = 0.001, kLongestPause = 0.1;

enum { kMostRedirections = 64 };

void psk_again(penstock_client* client) {
  client->text.used = 0;
  client->n_parts = client->n_commands = client->words_left = 0;
}

void psk_begin(penstock_client* client, const char* doing, const char* subject) {
  psk_again(client);
  client->doing = doing;
  client->subject = subject;
  client->patience = client->timeout;
  client->deadline = psk_now() + client->timeout;
  client->error.status = 0;
  client->hopeless = client->uncertain = client->interrupted = client->no_memory = 0;
}

int psk_attempt(penstock_client* client, psk_link* link, const char* text, size_t length,
                psk_command* command) {
  struct iovec part = {(char*)(uintptr_t)text, length};
  if (link->transport->send(link, &part, 1, PSK_NOW) != (ssize_t)length)  // a new socket has room for it
    return psk_link_broke(client, link, "the server closed the connection");
  psk_token token;
  int status = psk_next(client, link, &token);
  return status ? status : command->reply(client, link, command, &token);
}

// ---- Sending

static int unreachable(penstock_client* client) {
  if (client->interrupted) return psk_fail(client, PENSTOCK_INTERRUPTED, NULL, "ended by a signal");
  return psk_fail(client, PENSTOCK_UNAVAILABLE, NULL, "%s%s", client->why,
                  client->uncertain ? "; whether the command was executed is not known" : "");
}

// A link broke: what was on its way, over any of them, is to be sent again, where it may be.
static void take_back(penstock_client* client) {
  for (int i = 0; i < client->n_commands; i++) {
    psk_command* one = &client->commands[i];
    if (one->state != PSK_SENT) continue;
    if (one->written && one->only_once) {
      client->uncertain = 1;
      client->hopeless = PSK_HALFWAY;
    }
    psk_link_close(one->link);  // its answers would be taken for those to the next call
    one->state = PSK_PENDING;
    one->asked = NULL;
  }
}

static int open_soon(penstock_client* client, psk_link* link) {
  double by = psk_now() + client->connect_timeout;
  return psk_link_open(client, link, by < client->deadline ? by : client->deadline);
}

// Open a link, and learn whether its server shares memory.
static int get_ready(penstock_client* client, psk_link* link) {
  int status = link->fd < 0 ? open_soon(client, link) : 0;
  return status || link->greeted ? status : psk_greet(client, link);
}

static int assign_one(penstock_client* client, psk_command* command, psk_link** used, int* n_used) {
  psk_link* link = psk_route(client, command);
  if (!link) {
    snprintf(client->why, sizeof client->why, "no shard serves slot %d", command->slot);
    return PSK_BROKEN;
  }
  if (command->only_once && psk_link_is_stale(link)) psk_link_close(link);
  if (get_ready(client, link)) return PSK_BROKEN;
  if (command->arena && command->arena != link->arena) {  // another server, or another shard
    *command->misplaced = 1;
    command->state = PSK_DONE;
    return 0;
  }
  if (command->connection && command->connection != link->connection) {
    command->state = PSK_DONE;
    return 0;
  }
  command->link = link;
  command->state = PSK_SENT;
  command->sent++;
  command->written = 0;
  for (int i = 0; i < *n_used; i++)
    if (used[i] == link) return 0;
  used[(*n_used)++] = link;
  return 0;
}

// Let the shard that is taking a slot over serve the next command.
static int send_asking(penstock_client* client, psk_link* link) {
  static const char kAsking[] = "*1\r\n$6\r\nASKING\r\n";
  psk_command asking = {.reply = psk_reply_ok};
  int status = get_ready(client, link);
  return status ? status : psk_attempt(client, link, kAsking, sizeof kAsking - 1, &asking);
}

// Give pending commands to links that are open: all of them, but one that another shard was named for goes
// alone. Sets *used, the links that have something to write.
static int assign(penstock_client* client, psk_link** used, int* n_used) {
  *n_used = 0;
  for (int i = 0; i < client->n_commands; i++) {
    psk_command* one = &client->commands[i];
    if (one->state != PSK_PENDING) continue;
    int alone = one->asked != NULL;
    if (alone && *n_used > 0) return 0;
    int status = alone ? send_asking(client, one->asked) : 0;
    if (!status) status = assign_one(client, one, used, n_used);
    if (status || alone) return status;
  }
  return 0;
}

static void rewind_writing(psk_link* link) {
  link->command = link->walking = 0;
  link->part = 0;
  link->offset = link->stage_start = link->stage_end = 0;
}

static int write_all(penstock_client* client, psk_link** used, int count) {
  for (int i = 0; i < count; i++) rewind_writing(used[i]);
  while (count > 0) {
    int left = 0;
    for (int i = 0; i < count; i++) {
      int finished = 0;
      int status = psk_link_write(client, used[i], count == 1, &finished);
      if (status) return status;
      if (!finished) used[left++] = used[i];
    }
    if (left == count && count > 1) {
      int status = psk_wait_any(client, used, count);
      if (status) return status;
    }
    count = left;
  }
  return 0;
}

static int send_pending(penstock_client* client) {
  psk_link* few[8];
  psk_link** used = few;
  if (client->cluster.n_links > 8 && !(used = malloc((size_t)client->cluster.n_links * sizeof *used)))
    return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for the connections");
  int count = 0;
  int status = assign(client, used, &count);
  if (!status) status = write_all(client, used, count);
  if (used != few) free(used);
  return status;
}

// ---- Replies

// The link that a redirection "MOVED 3999 host:port" leads to.
static psk_link* redirected(penstock_client* client, const psk_link* from, const psk_token* token) {
  char text[320];
  size_t length = token->length < sizeof text ? token->length : sizeof text - 1;
  memcpy(text, token->text, length);
  text[length] = '\0';
  char* place = strrchr(text, ' ');
  char* colon = place ? strrchr(place, ':') : NULL;
  if (!colon) return NULL;
  *colon = '\0';
  psk_endpoint endpoint = {.port = atoi(colon + 1)};
  snprintf(endpoint.host, sizeof endpoint.host, "%.255s", place[1] ? place + 1 : from->endpoint.host);
  return endpoint.port > 0 ? psk_link_to(client, &endpoint) : NULL;
}

static int is_for_later(const psk_token* token) {
  static const char* const kSigns[] = {"LOADING",    "TRYAGAIN", "CLUSTERDOWN",
                                       "MASTERDOWN", "READONLY", "ERR max number of clients"};
  for (size_t i = 0; i < sizeof kSigns / sizeof *kSigns; i++)
    if (psk_begins(token, kSigns[i])) return 1;
  return 0;
}

typedef struct trouble {
  int map_is_wrong;  // ask for it
  int pause;         // the servers need time
  int redirections;  // one after another
} trouble;

// Read one reply. Sets the command pending again where it has not been executed.
static int read_reply(penstock_client* client, psk_command* command, trouble* found) {
  psk_token token;
  psk_link* link = command->link;
  int status = psk_next(client, link, &token);
  if (status) return status;
  if (token.kind == '-' && client->cluster.on && psk_begins(&token, "MOVED ")) {
    found->map_is_wrong = 1;
    command->state = PSK_PENDING;
    psk_link* to = redirected(client, link, &token);
    if (to && command->slot >= 0) client->cluster.of_slot[command->slot] = to;
    return 0;
  }
  if (token.kind == '-' && client->cluster.on && psk_begins(&token, "ASK ")) {
    command->state = PSK_PENDING;
    psk_link* to = redirected(client, link, &token);
    if (to) command->asked = to;
    return 0;
  }
  if (token.kind == '-' && is_for_later(&token)) {
    found->map_is_wrong |= client->cluster.on;
    found->pause = 1;
    command->state = PSK_PENDING;
    snprintf(client->why, sizeof client->why, "%.*s", (int)(token.length < 400 ? token.length : 400),
             token.text);
    return 0;
  }
  status = command->reply(client, link, command, &token);
  if (status != PSK_BROKEN) command->state = PSK_DONE;
  return status;
}

// Read the replies in the order of the commands. Returns 0 or PSK_BROKEN; errors are kept by psk_fail.
static int read_all(penstock_client* client, trouble* found) {
  for (int i = 0; i < client->n_commands; i++) {
    psk_command* one = &client->commands[i];
    if (one->state != PSK_SENT) continue;
    one->asked = NULL;
    if (read_reply(client, one, found) == PSK_BROKEN) return PSK_BROKEN;
  }
  return 0;
}

static int has_pending(penstock_client* client) {
  int pending = 0;
  for (int i = 0; i < client->n_commands; i++) {
    psk_command* one = &client->commands[i];
    // Behind a command that goes again, the rest goes again too, unless it must not.
    if (pending && one->state == PSK_DONE && !one->only_once && !one->settled) one->state = PSK_PENDING;
    pending |= one->state == PSK_PENDING;
  }
  return pending;
}

// What to do before the next round, after one that left commands to be sent again. Returns 0 to go on.
static int recover(penstock_client* client, int status, trouble* found, double* give_up, double* pause) {
  if (client->hopeless || client->interrupted) return unreachable(client);
  double now = psk_now();
  if (now > client->deadline) return unreachable(client);
  if (status == PSK_BROKEN || found->pause || found->redirections > kMostRedirections) {
    if (*give_up <= 0) *give_up = now + client->connect_timeout;
    if (now + *pause > *give_up) return unreachable(client);
    if (*pause > kFirstPause) psk_pause(client, *pause);
    *pause = 2 * *pause < kLongestPause ? 2 * *pause : kLongestPause;
  }
  if (client->cluster.on && (status == PSK_BROKEN || found->map_is_wrong)) psk_cluster_refresh(client);
  found->map_is_wrong = found->pause = 0;
  return client->error.status;
}

// One shard that does not answer must not keep the others from being asked.
void psk_ask_anew(penstock_client* client) {
  psk_again(client);
  client->error.status = 0;
  client->hopeless = client->uncertain = client->interrupted = 0;
  client->deadline = psk_now() + client->connect_timeout;
}

int psk_run(penstock_client* client) {
  double give_up = 0, pause = kFirstPause;
  trouble found = {0};
  psk_arena_flush(client);
  for (;;) {
    if (client->no_memory) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for the message");
    int status = send_pending(client);
    if (!status) status = read_all(client, &found);
    if (status) take_back(client);
    int pending = has_pending(client);
    if (client->error.status || !pending) return client->error.status;
    found.redirections += client->n_commands > 0;
    status = recover(client, status, &found, &give_up, &pause);
    if (status) return status;
  }
}

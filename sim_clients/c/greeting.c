// A new connection to a server of this host asks for its memory.
//
// Whatever stands in the way (an older server, none to share, a user who may not ask, another user's process,
// another PID namespace, no address space) is no error: arrays then go through the socket.

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arena.h"

typedef struct greeting {
  int refused;
  int later;  // the server is not ready to say
  char path[64];
  int64_t bytes;
  char id[64];
  int64_t connection;
  int64_t* taken;  // what the connection before it held
  size_t n_taken;
  int64_t own;  // the number of a connection that has not been greeted yet, 0 where it is not told
} greeting;

// Whether both ends have one address.
static int is_on_this_host(const psk_link* link) {
  if (!link->endpoint.port) return 1;
  union {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
  } here, there;
  socklen_t length = sizeof here, other = sizeof there;
  if (getsockname(link->fd, &here.any, &length) || getpeername(link->fd, &there.any, &other)) return 0;
  if (here.any.sa_family == AF_INET) return here.four.sin_addr.s_addr == there.four.sin_addr.s_addr;
  return here.any.sa_family == AF_INET6 &&
         !memcmp(&here.six.sin6_addr, &there.six.sin6_addr, sizeof here.six.sin6_addr);
}

// The number of this process where the server's /proc is ours.
static void own_number(char* text, size_t room) {
  ssize_t length = readlink("/proc/self", text, room - 1);
  if (length > 0)
    text[length] = '\0';
  else
    snprintf(text, room, "%d", (int)getpid());
}

static int next_number(penstock_client* client, psk_link* link, int64_t* number) {
  psk_token token;
  int status = psk_next(client, link, &token);
  if (!status && token.kind != ':') status = psk_garbage(client, link, "a number of shared memory");
  if (!status) *number = token.number;
  return status;
}

static int next_text(penstock_client* client, psk_link* link, char* text, size_t room) {
  psk_token token;
  int status = psk_next(client, link, &token);
  return status ? status : psk_body_text(client, link, &token, text, room);
}

static int next_taken(penstock_client* client, psk_link* link, greeting* answer) {
  psk_token token;
  int status = psk_next(client, link, &token);
  if (!status && (token.kind != '*' || token.number < 0))
    status = psk_garbage(client, link, "what is held of shared memory");
  if (status) return status;
  size_t all = answer->n_taken + (size_t)token.number;
  int64_t* more = realloc(answer->taken, (all + 1) * sizeof *more);
  if (!more) return psk_link_broke(client, link, "no memory for what is held");
  answer->taken = more;
  while (!status && answer->n_taken < all) {
    status = next_number(client, link, &answer->taken[answer->n_taken]);
    answer->n_taken += !status;
  }
  return status;
}

static int read_greeting(penstock_client* client, psk_link* link, psk_command* command,
                         const psk_token* token) {
  greeting* answer = command->context;
  if (token->kind != '*' || token->number != 5) {
    answer->refused = 1;
    answer->later = token->kind == '-' && psk_begins(token, "LOADING");
    return psk_pass(client, link, token);
  }
  int status = next_text(client, link, answer->path, sizeof answer->path);
  if (!status) status = next_number(client, link, &answer->bytes);
  if (!status) status = next_text(client, link, answer->id, sizeof answer->id);
  if (!status) status = next_number(client, link, &answer->connection);
  return status ? status : next_taken(client, link, answer);
}

// `before`: the number of a connection that is to be taken over, 0: none.
static int ask(penstock_client* client, psk_link* link, int64_t before, greeting* answer) {
  char text[384], process[24], former[128] = "", number[24];
  own_number(process, sizeof process);
  if (before) {
    int digits = snprintf(number, sizeof number, "%lld", (long long)before);
    snprintf(former, sizeof former, "$6\r\nFORMER\r\n$%d\r\n%s\r\n$%zu\r\n%s\r\n", digits, number,
             strlen(link->arena->id), link->arena->id);
  }
  int length = snprintf(text, sizeof text, "*%d\r\n$14\r\nPENSTOCK.ARENA\r\n$3\r\nPID\r\n$%zu\r\n%s\r\n%s",
                        before ? 6 : 3, strlen(process), process, former);
  psk_command command = {.reply = read_greeting, .context = answer};
  return psk_attempt(client, link, text, (size_t)length, &command);
}

static int read_own(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  greeting* answer = command->context;
  if (token->kind == ':') answer->own = token->number;
  return psk_pass(client, link, token);
}

// Take over what every connection before this one may hold. An answer to this very question may be lost too:
// then the connection holds what it has taken, so its number is noted before it asks.
static int take_over(penstock_client* client, psk_link* link, greeting* answer) {
  static const char kWho[] = "*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n";
  psk_command who = {.reply = read_own, .context = answer};
  int status = psk_attempt(client, link, kWho, sizeof kWho - 1, &who);
  int before = link->n_connections;
  if (!status && answer->own && before < PSK_CONNECTIONS)
    link->connections[link->n_connections++] = answer->own;
  for (int i = 0; !status && !answer->refused && i < before; i++)
    status = ask(client, link, link->connections[i], answer);
  return status;
}

static void take(psk_link* link, const greeting* answer) {
  if (answer->later) {
    link->greeted = 0;
    return;
  }
  if (!answer->refused && link->arena && !strcmp(link->arena->id, answer->id)) {
    psk_arena_reconcile(link->arena, answer->taken, answer->n_taken);
  } else {
    psk_arena_detach(link);
    link->no_arena = answer->refused;  // a server that comes back has the arguments that it had
    if (!answer->refused) link->arena = psk_arena_open(answer->path, answer->bytes, answer->id);
  }
  link->connection = link->arena ? answer->connection : 0;
  link->connections[0] = link->connection;
  link->n_connections = link->arena != NULL;
}

int psk_greet(penstock_client* client, psk_link* link) {
  link->greeted = 1;
  link->no_leases = 0;
  if (!client->shared_from || link->no_arena || !is_on_this_host(link)) return 0;
  greeting answer = {0};
  int status = link->arena ? take_over(client, link, &answer) : ask(client, link, 0, &answer);
  if (!status) take(link, &answer);
  free(answer.taken);
  return status;
}

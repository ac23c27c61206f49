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
  answer->taken = calloc((size_t)token.number + 1, sizeof *answer->taken);
  if (!answer->taken) return psk_link_broke(client, link, "no memory for what is held");
  while (!status && answer->n_taken < (size_t)token.number) {
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
    answer->later = token->kind == '-' && token->length >= 7 && !memcmp(token->text, "LOADING", 7);
    return psk_pass(client, link, token);
  }
  int status = next_text(client, link, answer->path, sizeof answer->path);
  if (!status) status = next_number(client, link, &answer->bytes);
  if (!status) status = next_text(client, link, answer->id, sizeof answer->id);
  if (!status) status = next_number(client, link, &answer->connection);
  return status ? status : next_taken(client, link, answer);
}

static int ask(penstock_client* client, psk_link* link, greeting* answer) {
  char text[384], process[24], former[128] = "", number[24];
  own_number(process, sizeof process);
  if (link->arena) {
    int digits = snprintf(number, sizeof number, "%lld", (long long)link->connection);
    snprintf(former, sizeof former, "$6\r\nFORMER\r\n$%d\r\n%s\r\n$%zu\r\n%s\r\n", digits, number,
             strlen(link->arena->id), link->arena->id);
  }
  int length = snprintf(text, sizeof text, "*%d\r\n$14\r\nPENSTOCK.ARENA\r\n$3\r\nPID\r\n$%zu\r\n%s\r\n%s",
                        link->arena ? 6 : 3, strlen(process), process, former);
  psk_command command = {.reply = read_greeting, .context = answer};
  return psk_attempt(client, link, text, (size_t)length, &command);
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
}

int psk_greet(penstock_client* client, psk_link* link) {
  link->greeted = 1;
  link->no_leases = 0;
  if (!client->shared_from || link->no_arena || !is_on_this_host(link)) return 0;
  greeting answer = {0};
  int status = ask(client, link, &answer);
  if (!status) take(link, &answer);
  free(answer.taken);
  return status;
}

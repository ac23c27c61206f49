// One connection. Reading goes through a small buffer, so that a small reply is one recv; the body of a large
// one goes from the socket to where it belongs. Writing gathers text and the caller's memory in one sendmsg.

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kMaxParts = 64, kKeptOfError = 4096 };

psk_link* psk_link_new(const psk_endpoint* endpoint) {
  psk_link* link = calloc(1, sizeof *link);
  if (!link) return NULL;
  link->in = malloc(PSK_IN_BYTES);
  if (!link->in) {
    free(link);
    return NULL;
  }
  link->endpoint = *endpoint;
  link->transport = endpoint->port ? &psk_tcp : &psk_unix;
  link->fd = -1;
  return link;
}

void psk_link_close(psk_link* link) {
  if (link->fd >= 0) link->transport->close(link);
  link->fd = -1;
  link->start = link->end = link->stage_start = link->stage_end = link->promised = 0;
  link->patient = 0;
  link->greeted = 0;
}

void psk_link_free(psk_link* link) {
  psk_link_close(link);
  free(link->in);
  free(link->stage);
  free(link);
}

int psk_link_broke(penstock_client* client, psk_link* link, const char* format, ...) {
  psk_link_close(link);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(client->why, sizeof client->why, format, arguments);
  va_end(arguments);
  return PSK_BROKEN;
}

static int out_of_time(penstock_client* client, psk_link* link) {
  client->hopeless = PSK_NO_TIME;
  return psk_link_broke(client, link, "no answer within %g s", client->patience);
}

int psk_link_open(penstock_client* client, psk_link* link, double deadline) {
  if (link->fd >= 0) return 0;
  int error = link->transport->open(link, deadline);
  link->opened++;
  if (!error) return 0;
  if (link->endpoint.port)
    return psk_link_broke(client, link, "%s:%d: %s", link->endpoint.host, link->endpoint.port,
                          strerror(error));
  return psk_link_broke(client, link, "%s", strerror(error));
}

// Whether the other end has left while nobody looked.
int psk_link_is_stale(psk_link* link) {
  struct pollfd entry = {link->fd, POLLIN, 0};
  return link->fd >= 0 && poll(&entry, 1, 0) > 0;  // nothing was asked: only its end can have come
}

// A wait, in the kernel or in poll, is cut into pieces: a signal that comes just before one of them
// interrupts nothing, and is seen after it.
static const double kSlice = 0.5;

static int slice_ms(double left) { return (int)(1e3 * (left < kSlice ? left : kSlice)) + 1; }

// Wait for a link by the deadline of the call.
static int wait_for(penstock_client* client, psk_link* link, short what) {
  struct pollfd entry = {link->fd, what, 0};
  for (;;) {
    double left = client->deadline - psk_now();
    if (left <= 0) return out_of_time(client, link);
    int ready = poll(&entry, 1, slice_ms(left));
    if (ready > 0) return 0;
    if (ready < 0 && errno != EINTR) return psk_link_broke(client, link, "poll: %s", strerror(errno));
    if (psk_signalled(client)) return psk_link_broke(client, link, "a signal");
  }
}

// Whether the kernel may do the waiting: while there is time for a piece of it.
static int may_block(penstock_client* client, psk_link* link) {
  if (client->deadline - psk_now() < kSlice) return 0;
  if (!link->patient) link->transport->set_patience(link, kSlice);
  link->patient = 1;
  return 1;
}

// After a send or receive that moved nothing: 0 to try again.
static int stalled(penstock_client* client, psk_link* link, short what, int blocked) {
  if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
    return psk_link_broke(client, link, "%s", strerror(errno));
  if (errno != EINTR && !blocked) return wait_for(client, link, what);
  return psk_signalled(client) ? psk_link_broke(client, link, "a signal") : 0;
}

// Receive at least one byte, or all `length` of them where `all`. Sets *received.
static int receive(penstock_client* client, psk_link* link, void* to, size_t length, int all,
                   size_t* received) {
  for (;;) {
    int block = may_block(client, link);
    ssize_t got = link->transport->receive(link, to, length, !block ? PSK_NOW : all ? PSK_ALL : PSK_SOME);
    if (got > 0) {
      *received = (size_t)got;
      return 0;
    }
    if (got == 0) return psk_link_broke(client, link, "the server closed the connection");
    int status = stalled(client, link, POLLIN, block);
    if (status) return status;
  }
}

static int fill(penstock_client* client, psk_link* link) {
  if (link->start == link->end) link->start = link->end = 0;
  if (link->start > 0 && link->end == PSK_IN_BYTES) {
    memmove(link->in, link->in + link->start, link->end - link->start);
    link->end -= link->start;
    link->start = 0;
  }
  size_t received = 0;
  int status = receive(client, link, link->in + link->end, PSK_IN_BYTES - link->end, 0, &received);
  link->end += received;
  return status;
}

int psk_link_line(penstock_client* client, psk_link* link, const char** line, size_t* length) {
  size_t seen = 0;
  for (;;) {
    const char* begin = link->in + link->start;
    size_t there = link->end - link->start;
    const char* newline = there > seen ? memchr(begin + seen, '\n', there - seen) : NULL;
    if (newline && newline > begin && newline[-1] == '\r') {
      *line = begin;
      *length = (size_t)(newline - begin) - 1;
      link->start += *length + 2;
      return 0;
    }
    if (newline) return psk_garbage(client, link, "a line of Redis' protocol");
    seen = there;
    if (there == PSK_IN_BYTES) {
      if (*begin != '-') return psk_garbage(client, link, "a shorter line");
      seen = kKeptOfError;  // torch's errors have tracebacks: keep the beginning, which says what it was
      link->in[seen] = link->in[link->end - 1];
      link->end = seen + 1;
    }
    int status = fill(client, link);
    if (status) return status;
  }
}

int psk_link_read(penstock_client* client, psk_link* link, void* to, size_t length) {
  char* place = to;
  size_t there = link->end - link->start;
  size_t buffered = there < length ? there : length;
  memcpy(place, link->in + link->start, buffered);
  link->start += buffered;
  place += buffered;
  length -= buffered;
  while (length > 0) {
    size_t received = 0;
    int status = receive(client, link, place, length, 1, &received);
    if (status) return status;
    place += received;
    length -= received;
  }
  return 0;
}

int psk_link_skip(penstock_client* client, psk_link* link, size_t length) {
  for (;;) {
    size_t there = link->end - link->start;
    if (there >= length) {
      link->start += length;
      return 0;
    }
    length -= there;
    link->start = link->end;
    int status = fill(client, link);
    if (status) return status;
  }
}

// ---- Writing

// Take the next elements of a strided array into the stage. 0, or PSK_BROKEN where there is no memory for it.
static int stage_more(penstock_client* client, psk_link* link, const psk_part* part) {
  if (!link->stage && !(link->stage = malloc(PSK_STAGE_BYTES))) {
    client->hopeless = PSK_NO_MEMORY;
    return psk_link_broke(client, link, "no memory for %zu bytes", PSK_STAGE_BYTES);
  }
  if (!link->walking) psk_walk_over(&link->walk, part->strided);
  link->walking = 1;
  link->stage_start = 0;
  link->stage_end = psk_gather(&link->walk, link->stage, PSK_STAGE_BYTES);
  return 0;
}

static int is_for(const penstock_client* client, const psk_link* link, int command) {
  const psk_command* one = &client->commands[command];
  return one->state == PSK_SENT && one->link == link && !one->written;
}

// Gather what can be written at once, from where writing stands. Returns the number of parts, or PSK_BROKEN.
static int collect(penstock_client* client, psk_link* link, struct iovec* out) {
  int count = 0, command = link->command, part = link->part;
  size_t offset = link->offset;
  while (count < kMaxParts && command < client->n_commands) {
    const psk_command* one = &client->commands[command];
    if (!is_for(client, link, command) || part == one->last_part) {
      command++;
      part = command < client->n_commands ? client->commands[command].first_part : 0;
      offset = 0;
      continue;
    }
    const psk_part* piece = &client->parts[part];
    if (piece->strided) {
      if (link->stage_start == link->stage_end && stage_more(client, link, piece)) return PSK_BROKEN;
      out[count++] = (struct iovec){link->stage + link->stage_start, link->stage_end - link->stage_start};
      return count;
    }
    const char* memory = piece->memory ? piece->memory : client->text.at + piece->offset;
    out[count++] = (struct iovec){(char*)(uintptr_t)memory + offset, piece->length - offset};
    part++;
    offset = 0;
  }
  return count;
}

// Move on from where writing stands.
static void advance(penstock_client* client, psk_link* link, size_t sent) {
  for (;;) {
    if (link->command >= client->n_commands) return;
    psk_command* one = &client->commands[link->command];
    int ours = is_for(client, link, link->command);
    if (!ours || link->part == one->last_part) {
      if (ours) one->written = 1;
      link->command++;
      if (link->command < client->n_commands) link->part = client->commands[link->command].first_part;
      link->offset = 0;
      continue;
    }
    if (sent == 0) return;
    const psk_part* piece = &client->parts[link->part];
    size_t left = piece->strided ? link->stage_end - link->stage_start : piece->length - link->offset;
    size_t taken = sent < left ? sent : left;
    sent -= taken;
    link->offset += taken;
    if (piece->strided) link->stage_start += taken;
    if (link->offset == piece->length) {
      if (piece->strided) link->walking = 0;  // not before: it may have begun ahead of what was sent
      link->part++;
      link->offset = 0;
    }
  }
}

int psk_link_write(penstock_client* client, psk_link* link, int wait, int* finished) {
  struct iovec out[kMaxParts];
  for (;;) {
    advance(client, link, 0);
    int count = collect(client, link, out);
    if (count < 0) return count;
    if ((*finished = count == 0)) return 0;
    int block = wait && may_block(client, link);
    ssize_t sent = link->transport->send(link, out, count, block ? PSK_ALL : PSK_NOW);
    if (sent >= 0) {
      advance(client, link, (size_t)sent);
      continue;
    }
    if (!wait && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    int status = stalled(client, link, POLLOUT, block);
    if (status) return status;
  }
}

int psk_wait_any(penstock_client* client, psk_link** links, int count) {
  struct pollfd* entries = calloc((size_t)count, sizeof *entries);
  if (!entries) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for %d connections", count);
  for (int i = 0; i < count; i++) entries[i] = (struct pollfd){links[i]->fd, POLLOUT, 0};
  double left = client->deadline - psk_now();
  int ready = left <= 0 ? 0 : poll(entries, (nfds_t)count, slice_ms(left));
  int error = errno;
  free(entries);
  if (ready > 0) return 0;
  if (left <= 0) return out_of_time(client, links[0]);
  if ((ready == 0 || error == EINTR) && !psk_signalled(client)) return 0;
  return psk_link_broke(client, links[0], client->interrupted ? "a signal" : "poll failed");
}

// A server's memory in this process.
//
// The mapping is not inherited by children: the server waits for the end of the process that it was given to,
// and knows of no other. A child that ends a view, or a client, therefore leaves everything as it is.

#include "arena.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kReleasesAtOnce = 512, kFarewellMs = 1000, kDigits = 24 };

static const size_t kGranule = (size_t)64 << 10, kLarge = (size_t)1 << 20, kPage = 4096;

static const char kMark[] = "PENSTOCK";

// ---- Life

static int belongs(int fd, int64_t bytes, const char* id) {
  char head[sizeof kMark - 1 + PSK_ARENA_ID];
  struct stat found;
  return !fstat(fd, &found) && S_ISREG(found.st_mode) && found.st_size == bytes &&
         pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head && !memcmp(head, kMark, sizeof kMark - 1) &&
         !memcmp(head + sizeof kMark - 1, id, PSK_ARENA_ID);
}

static char* mapped(const char* path, int64_t bytes, const char* id) {
  int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return NULL;
  void* base = MAP_FAILED;
  if (belongs(fd, bytes, id)) base = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (base == MAP_FAILED) return NULL;
  if (madvise(base, (size_t)bytes, MADV_DONTFORK)) {
    munmap(base, (size_t)bytes);
    return NULL;
  }
  madvise(base, (size_t)bytes, MADV_DONTDUMP);
  madvise(base, (size_t)bytes, MADV_HUGEPAGE);  // where the system has them for shared memory
  return base;
}

psk_arena* psk_arena_open(const char* path, int64_t bytes, const char* id) {
  psk_arena* arena = bytes > 0 && strlen(id) == PSK_ARENA_ID ? calloc(1, sizeof *arena) : NULL;
  if (!arena) return NULL;
  arena->touched = calloc((size_t)bytes / kGranule / 8 + 1, 1);
  arena->base = arena->touched ? mapped(path, bytes, id) : NULL;
  if (!arena->base || pthread_mutex_init(&arena->mutex, NULL)) {
    free(arena->touched);
    free(arena);
    return NULL;
  }
  arena->bytes = (size_t)bytes;
  arena->process = getpid();
  arena->linked = 1;
  memcpy(arena->id, id, sizeof arena->id);
  return arena;
}

static void destroy(psk_arena* arena) {
  munmap(arena->base, arena->bytes);
  pthread_mutex_destroy(&arena->mutex);
  if (arena->left) psk_link_free(arena->left);
  free(arena->touched);
  free(arena->released);
  free(arena);
}

// The mutex is held, and is not afterwards; nor is the arena there where nobody has it any more.
static void unlock(psk_arena* arena) {
  int over = !arena->linked && !arena->holds;
  pthread_mutex_unlock(&arena->mutex);
  if (over) destroy(arena);
}

static int is_ours(const psk_arena* arena) { return arena->process == getpid(); }

// ---- What is held

// The mutex is held. Without memory for the note the block is the process' until it ends.
static void note_released(psk_arena* arena, int64_t offset, size_t bytes) {
  if (arena->n_released == arena->room_released) {
    size_t room = arena->room_released ? 2 * arena->room_released : 16;
    int64_t* bigger = realloc(arena->released, room * sizeof *bigger);
    if (!bigger) return;
    arena->released = bigger;
    arena->room_released = room;
  }
  arena->released[arena->n_released++] = offset;
  arena->released_bytes += bytes;
}

psk_hold* psk_hold_new(psk_arena* arena, int64_t offset, size_t bytes, int leased) {
  if (offset < 0 || (size_t)offset > arena->bytes || bytes > arena->bytes - (size_t)offset) return NULL;
  psk_hold* hold = calloc(1, sizeof *hold);
  pthread_mutex_lock(&arena->mutex);
  if (!hold) {
    note_released(arena, offset, bytes);  // nobody here would know of it
    pthread_mutex_unlock(&arena->mutex);
    return NULL;
  }
  *hold = (psk_hold){.arena = arena, .offset = offset, .bytes = bytes, .leased = leased};
  hold->next = arena->holds;
  if (hold->next) hold->next->before = hold;
  arena->holds = hold;
  pthread_mutex_unlock(&arena->mutex);
  return hold;
}

char* psk_hold_data(const psk_hold* hold) { return hold->arena->base + hold->offset; }

// Take it out of its arena's list. The mutex is held.
static void take_out(psk_hold* hold) {
  if (hold->before) hold->before->next = hold->next;
  if (hold->next) hold->next->before = hold->before;
  if (hold->arena->holds == hold) hold->arena->holds = hold->next;
}

void psk_hold_forget(psk_hold* hold) {
  psk_arena* arena = hold->arena;
  pthread_mutex_lock(&arena->mutex);
  take_out(hold);
  unlock(arena);
  free(hold);
}

void psk_hold_put(psk_hold* hold) {
  pthread_mutex_lock(&hold->arena->mutex);
  hold->leased = 0;
  pthread_mutex_unlock(&hold->arena->mutex);
}

psk_hold* psk_hold_at(psk_arena* arena, const void* data, size_t bytes) {
  const char* at = data;
  if (at < arena->base || at >= arena->base + arena->bytes) return NULL;
  pthread_mutex_lock(&arena->mutex);
  psk_hold* found = arena->holds;
  while (found && !(found->leased && found->of_view && psk_hold_data(found) == at && found->bytes == bytes))
    found = found->next;
  pthread_mutex_unlock(&arena->mutex);
  return found;
}

// ---- Telling the server

static size_t append_word(char* text, size_t used, const char* word) {
  return used + (size_t)sprintf(text + used, "$%zu\r\n%s\r\n", strlen(word), word);
}

// A RELEASE of the last `count` that were given back, to be freed. NULL: no memory.
static char* release_text(const psk_arena* arena, size_t count, size_t* length) {
  char* text = malloc((count + 3) * (2 * kDigits));
  if (!text) return NULL;
  *length = append_word(text, (size_t)sprintf(text, "*%zu\r\n", count + 1), "PENSTOCK.RELEASE");
  for (size_t i = 0; i < count; i++) {
    char number[kDigits];
    snprintf(number, sizeof number, "%lld", (long long)arena->released[arena->n_released - count + i]);
    *length = append_word(text, *length, number);
  }
  return text;
}

// Whether a line has come within a moment.
static int is_answered(psk_link* link) {
  char some[64];
  struct pollfd entry = {link->fd, POLLIN, 0};
  for (;;) {
    int ready = poll(&entry, 1, kFarewellMs);
    if (ready < 0 && errno == EINTR) continue;
    ssize_t got = ready > 0 ? link->transport->receive(link, some, sizeof some, PSK_NOW) : 0;
    if (got <= 0) return 0;
    if (memchr(some, '\n', (size_t)got)) return 1;
  }
}

// Tell it all over a connection that no client uses any more. The mutex is held.
static void tell(psk_arena* arena, psk_link* link) {
  while (arena->n_released > 0 && link->fd >= 0) {
    size_t count = arena->n_released < kReleasesAtOnce ? arena->n_released : kReleasesAtOnce, length;
    char* text = release_text(arena, count, &length);
    if (!text) return;
    struct iovec part = {text, length};
    if (link->transport->send(link, &part, 1, PSK_NOW) != (ssize_t)length || !is_answered(link))
      psk_link_close(link);
    free(text);
    arena->n_released -= count;
  }
}

void psk_hold_end(psk_hold* hold) {
  if (!hold || !is_ours(hold->arena)) return;
  psk_arena* arena = hold->arena;
  pthread_mutex_lock(&arena->mutex);
  take_out(hold);
  if (arena->linked || arena->left) note_released(arena, hold->offset, hold->bytes);
  if (arena->left) tell(arena, arena->left);
  unlock(arena);
  free(hold);
}

void psk_arena_reconcile(psk_arena* arena, const int64_t* offsets, size_t count) {
  char* known = calloc(count + 1, 1);
  if (!known) return;
  pthread_mutex_lock(&arena->mutex);
  for (const psk_hold* hold = arena->holds; hold; hold = hold->next) {
    size_t i = 0;
    while (i < count && (known[i] || offsets[i] != hold->offset)) i++;
    if (i < count) known[i] = 1;
  }
  arena->n_released = arena->released_bytes = 0;
  for (size_t i = 0; i < count; i++)
    if (!known[i]) note_released(arena, offsets[i], 0);
  pthread_mutex_unlock(&arena->mutex);
  free(known);
}

void psk_arena_detach(psk_link* link) {
  psk_arena* arena = link->arena;
  if (!arena) return;
  psk_end_ahead(link);
  link->arena = NULL;
  link->connection = 0;
  if (!is_ours(arena)) return;  // in a child there is nothing where it was
  pthread_mutex_lock(&arena->mutex);
  arena->linked = 0;
  arena->n_released = 0;
  unlock(arena);
}

int psk_arena_leave(psk_link* link) {
  psk_arena* arena = link->arena;
  if (!arena || !is_ours(arena)) return 0;
  psk_end_ahead(link);
  pthread_mutex_lock(&arena->mutex);
  arena->linked = 0;
  tell(arena, link);
  int kept = arena->holds && link->fd >= 0;
  if (kept) arena->left = link;
  unlock(arena);
  return kept;
}

static int reply_released(penstock_client* client, psk_link* link, psk_command* command,
                          const psk_token* token) {
  (void)command;
  return psk_pass(client, link, token);  // what is refused was not held any more
}

static void flush_link(penstock_client* client, psk_link* link) {
  psk_arena* arena = link->arena;
  pthread_mutex_lock(&arena->mutex);
  int count = (int)(arena->n_released < kReleasesAtOnce ? arena->n_released : kReleasesAtOnce);
  if (count > 0) {
    psk_command* command = psk_command_begin(client, 1 + count, reply_released, NULL);
    command->to = link;
    command->connection = link->connection;
    psk_word(client, "PENSTOCK.RELEASE");
    for (int i = 0; i < count; i++) psk_word_number(client, arena->released[--arena->n_released]);
    arena->released_bytes = 0;
  }
  pthread_mutex_unlock(&arena->mutex);
}

void psk_arena_flush(penstock_client* client) {
  for (int i = 0; i < client->cluster.n_links; i++) {
    psk_link* link = client->cluster.links[i];
    if (link->arena && link->fd >= 0 && is_ours(link->arena)) flush_link(client, link);
  }
}

int psk_arena_flush_large(penstock_client* client) {
  size_t most = 0;
  for (int i = 0; i < client->cluster.n_links; i++) {
    psk_arena* arena = client->cluster.links[i]->arena;
    if (!arena || !is_ours(arena)) continue;
    pthread_mutex_lock(&arena->mutex);
    if (arena->released_bytes > most) most = arena->released_bytes;
    pthread_mutex_unlock(&arena->mutex);
  }
  if (most < kLarge) return 0;
  psk_again(client);
  return psk_run(client);  // which flushes
}

// ---- Pages

void psk_arena_touch(psk_arena* arena, int64_t offset, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  size_t start = (size_t)offset / kPage * kPage;
  size_t end = ((size_t)offset + bytes + kPage - 1) / kPage * kPage;
  size_t first = (start + kGranule - 1) / kGranule, last = end / kGranule, i = first;  // those that are whole
  while (i < last && arena->touched[i / 8] & 1 << i % 8) i++;
  if (i >= last) return;
  madvise(arena->base + start, end - start, MADV_POPULATE_WRITE);  // older systems do not know it
  for (; i < last; i++) arena->touched[i / 8] = (unsigned char)(arena->touched[i / 8] | 1 << i % 8);
#else
  (void)arena, (void)offset, (void)bytes, (void)kPage;
#endif
}

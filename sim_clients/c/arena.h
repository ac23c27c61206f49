// What the files of shared memory share. docs/commands.md has the protocol.
//
//   arena.c     a server's memory in this process, and what the process holds of it
//   greeting.c  a new connection asks for that memory, and takes over what the one before it held
//   lease.c     puts: room for arrays, one copy into it, the small command
//   mapped.c    gets: where a tensor lies, and a copy from there or a view
//   view.c      the calls of penstock.h
//
// Ownership: a link has its server's arena, a hold has one too; the last of them unmaps it. A hold is a lease
// or a mapping of one block, and belongs to a put that is going on, to a link (the lease of the next put) or
// to a penstock_view. Threads: views end on any thread, also after their client. So the arena's mutex guards
// its holds and its list of what the server is still to be told; the rest is the client's thread's.

#ifndef PENSTOCK_ARENA_H
#define PENSTOCK_ARENA_H

#include <pthread.h>

#include "internal.h"

#define PSK_ARENA_ID 32

// A block that this process holds.
struct psk_hold {
  psk_hold *next, *before;  // of the same arena
  psk_arena* arena;
  int64_t offset;
  size_t bytes;  // from there on
  int leased;    // may be written; else it is mapped
  int of_view;   // not a link's or a put's
  int age;       // how many puts a link's has waited
};

struct psk_arena {
  char* base;
  size_t bytes;
  char id[PSK_ARENA_ID + 1];
  pid_t process;           // a child of it has no mapping
  unsigned char* touched;  // a bit for each 64 KB whose pages this process has

  pthread_mutex_t mutex;  // guards what follows
  int linked;             // a link has it
  psk_hold* holds;
  int64_t* released;  // offsets that the server is to be told of
  size_t n_released, room_released, released_bytes;
  psk_link* left;  // of a client that was closed before its views
};

// ---- arena.c

// Open what the server told of. NULL where it cannot be opened, or belongs to another server.
psk_arena* psk_arena_open(const char* path, int64_t bytes, const char* id);
// NULL where there is no memory, or the block does not lie in the arena.
psk_hold* psk_hold_new(psk_arena* arena, int64_t offset, size_t bytes, int leased);
char* psk_hold_data(const psk_hold* hold);
// Give it back. NULL is harmless. Any thread.
void psk_hold_end(psk_hold* hold);
// It is a key's now.
void psk_hold_forget(psk_hold* hold);
// It is a mapping now.
void psk_hold_put(psk_hold* hold);
// The lease of a view that is these bytes, or NULL.
psk_hold* psk_hold_at(psk_arena* arena, const void* data, size_t bytes);
// Have the pages at hand that are going to be written.
void psk_arena_touch(psk_arena* arena, int64_t offset, size_t bytes);
// The server says that this is all that the process holds. What it does not know of, it gives back.
void psk_arena_reconcile(psk_arena* arena, const int64_t* offsets, size_t count);
// The link's server is another one now.
void psk_arena_detach(psk_link* link);
// The RELEASE of psk_arena_flush as a round trip of its own, where it is so much that others may wait for it.
int psk_arena_flush_large(penstock_client* client);

// ---- lease.c

// An array on its way to a key.
typedef struct psk_put {
  const char* name;  // for errors
  const penstock_array* array;
  size_t bytes;
  int shared;  // through shared memory, where it is large enough
  psk_link* link;
  psk_hold* hold;
  int in_place;  // it lies in a lease of the caller's
  size_t ahead;  // of the lease that it brings; 0: none
  int again;     // it goes again, by the socket
} psk_put;

void psk_put_of(psk_put* put, const char* name, const penstock_array* array);
// The link by which this key's arrays go through shared memory, or NULL. The three texts are the key.
psk_link* psk_shared_link(penstock_client* client, const char* first, const char* second, const char* third);
// Lease what is needed and copy, by round trips of its own; then a new message may be built. `may_wait` 0:
// what finds no room goes through the socket.
int psk_puts_prepare(penstock_client* client, psk_link* link, psk_put* puts, int count, int may_wait);
// Bytes of those that go through the socket, once they are prepared.
size_t psk_puts_by_socket(const psk_put* puts, int count);
// Build the whole command.
void psk_put_command(penstock_client* client, psk_put* put, const char* first, const char* second,
                     const char* third);
// After a message without an error: whether it is to be built and sent again.
int psk_puts_again(psk_put* puts, int count);
// Give back what was not put.
void psk_puts_end(psk_put* puts, int count);
// Give back what is leased for puts to come.
void psk_end_ahead(psk_link* link);
// One block, or NULL: then *status is the error, or 0 where the server gives none of this size.
psk_hold* psk_lease_block(penstock_client* client, psk_link* link, size_t bytes, const char* name,
                          int* status);

// ---- mapped.c

// Build the command that gets a tensor, by shared memory where there is some.
void psk_get_command(penstock_client* client, psk_sink* sink, const char* first, const char* second,
                     const char* third);
// Send it, or several of them. Those whose `again` is set afterwards are to be built again.
int psk_get_all(penstock_client* client);

// ---- view.c

// A tensor as a view has it.
struct psk_piece {
  char* name;
  penstock_info info;
  void* data;
  void* owned;     // not NULL: where it is no shared memory
  psk_hold* hold;  // not NULL: where it is
};

penstock_view* psk_view_new(void);
psk_piece* psk_view_add(penstock_view* view, const char* name);
// Drop the pieces that do not lie in shared memory.
void psk_view_keep_mapped(penstock_view* view);

#endif  // PENSTOCK_ARENA_H

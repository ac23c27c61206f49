// Gets through shared memory: the server says where a tensor lies, and holds it there until it is released.
//
// A copy is made from there at once; a view stays. The answer for a tensor that lies elsewhere has its bytes.

#include <stdlib.h>
#include <string.h>

#include "arena.h"

void* psk_own_piece(void* context, const char* name, const penstock_info* info) {
  (void)name;
  psk_piece* piece = context;
  free(piece->owned);  // of an attempt that broke off
  piece->owned = malloc(info->nbytes ? info->nbytes : 1);
  piece->data = piece->owned;
  piece->info = *info;
  return piece->owned;
}

// Copy a tensor to where its sink says.
static int copy_out(penstock_client* client, psk_sink* sink, const penstock_info* info, const char* from) {
  if (psk_does_not_fit(client, sink, info)) return client->error.status;
  if (sink->array) {
    psk_walk walk;
    psk_walk_over(&walk, sink->array);
    if (psk_walk_is_plain(&walk))
      memcpy(sink->array->data, from, info->nbytes);
    else
      psk_scatter(&walk, from, info->nbytes);
    return 0;
  }
  void* to = sink->place(sink->context, sink->name, info);
  if (!to) {
    char there[256];
    psk_describe(there, sizeof there, info->dtype, info->rank, info->dims);
    return psk_fail(client, PENSTOCK_MEMORY, sink->name, "no memory was given for %s", there);
  }
  memcpy(to, from, info->nbytes);
  return 0;
}

static int take(penstock_client* client, psk_sink* sink, const psk_header* head, psk_hold* hold) {
  const penstock_info* info = &head->info;
  if (!info->dtype) {
    psk_hold_end(hold);
    return psk_fail(client, PENSTOCK_TENSOR, sink->name,
                    "the database has it as %s, which this client cannot read", head->dtype);
  }
  psk_piece* piece = sink->piece;
  if (!piece) {
    int status = copy_out(client, sink, info, psk_hold_data(hold));
    psk_hold_end(hold);
    return status;
  }
  psk_hold_end(piece->hold);  // of an attempt that broke off
  piece->info = *info;
  piece->data = psk_hold_data(hold);
  piece->hold = hold;
  hold->of_view = 1;
  return 0;
}

static int read_mapped(penstock_client* client, psk_link* link, psk_sink* sink, psk_header* head) {
  psk_token where, last;
  int status = psk_next(client, link, &where);
  if (!status) status = psk_body_text(client, link, &where, head->dtype, sizeof head->dtype);
  if (!status) status = psk_read_shape(client, link, &head->info);
  if (!status) status = psk_next(client, link, &where);
  if (status) return status;
  if (where.kind != ':' && (where.kind != '$' || where.number != -1))
    return psk_garbage(client, link, "where a tensor lies");
  int64_t offset = where.kind == ':' ? where.number : -1;
  status = psk_next(client, link, &last);
  if (status) return status;
  head->info.dtype = psk_dtype_of_wire(head->dtype);
  head->info.nbytes = psk_nbytes(head->info.dtype, head->info.rank, head->info.dims);
  if (sink->info) *sink->info = head->info;
  if (offset < 0) {
    if (last.kind != '$' || last.number < 0) return psk_garbage(client, link, "a tensor's bytes");
    return psk_read_blob(client, link, sink, head, &last);
  }
  if (last.kind != ':' || last.number < 0 || !link->arena)
    return psk_garbage(client, link, "the size of a tensor");
  int fits = !head->info.dtype || head->info.nbytes == (size_t)last.number;
  psk_hold* hold = fits ? psk_hold_new(link->arena, offset, (size_t)last.number, 0) : NULL;
  return hold ? take(client, sink, head, hold) : psk_garbage(client, link, "a tensor in shared memory");
}

static int reply_mapped(penstock_client* client, psk_link* link, psk_command* command,
                        const psk_token* token) {
  psk_sink* sink = command->context;
  psk_header head = {0};
  if (token->kind == '*' && token->number == 4) return read_mapped(client, link, sink, &head);
  if (token->kind != '-') return psk_garbage(client, link, "a tensor");
  sink->by_socket = sink->again = 1;  // whatever it is, AI.TENSORGET says it
  return 0;
}

void psk_get_command(penstock_client* client, psk_sink* sink, const char* first, const char* second,
                     const char* third) {
  int wanted = sink->array || sink->place || sink->piece;  // else only what it is
  const psk_link* link = sink->by_socket || !wanted ? NULL : psk_shared_link(client, first, second, third);
  sink->again = 0;
  if (sink->piece && !sink->place) {
    sink->place = psk_own_piece;
    sink->context = sink->piece;
  }
  psk_command_begin(client, 2 + !link + wanted, link ? reply_mapped : psk_reply_tensor, sink);
  psk_word(client, link ? "PENSTOCK.MAP" : "AI.TENSORGET");
  psk_key(client, first, second, third, NULL);
  if (!link) psk_word(client, "META");
  if (wanted) psk_word(client, "BLOB");
}

int psk_get_all(penstock_client* client) {
  int status = psk_run(client);
  if (status) return status;
  psk_arena_flush_large(client);
  client->error.status = 0;  // what was asked for has arrived
  return 0;
}

// Views: tensors that are read, and arrays that are computed, where they lie.

#include <stdlib.h>
#include <string.h>

#include "arena.h"

enum { kAlignment = 64 };

struct penstock_view {
  int count;
  psk_piece** pieces;
};

penstock_view* psk_view_new(void) { return calloc(1, sizeof(penstock_view)); }

psk_piece* psk_view_add(penstock_view* view, const char* name) {
  psk_piece** more = realloc(view->pieces, (size_t)(view->count + 1) * sizeof(psk_piece*));
  psk_piece* piece = calloc(1, sizeof *piece);
  if (more) view->pieces = more;
  if (more && piece && (piece->name = strdup(name))) return more[view->count++] = piece;
  free(piece);
  return NULL;
}

static void end_piece(psk_piece* piece) {
  psk_hold_end(piece->hold);
  free(piece->owned);
  free(piece->name);
  free(piece);
}

void psk_view_keep_mapped(penstock_view* view) {
  int kept = 0;
  for (int i = 0; i < view->count; i++) {
    if (view->pieces[i]->hold)
      view->pieces[kept++] = view->pieces[i];
    else
      end_piece(view->pieces[i]);
  }
  view->count = kept;
}

void penstock_unmap(penstock_view* view) {
  if (!view) return;
  for (int i = 0; i < view->count; i++) end_piece(view->pieces[i]);
  free(view->pieces);
  free(view);
}

// A view of one piece. NULL: no memory, and psk_fail was called.
static penstock_view* view_of_one(penstock_client* client, const char* name) {
  penstock_view* view = psk_view_new();
  if (view && psk_view_add(view, name)) return view;
  penstock_unmap(view);
  psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a view");
  return NULL;
}

int penstock_map_tensor(penstock_client* client, const char* name, penstock_view** view) {
  psk_begin(client, "map tensor", name);
  int status = psk_check_name(client, "tensor", name);
  if (!status && !view) status = psk_fail(client, PENSTOCK_INVALID, name, "view must not be NULL");
  if (status) return status;
  *view = NULL;
  penstock_view* made = view_of_one(client, name);
  if (!made) return client->error.status;
  status = psk_get_tensor(client, name, &(psk_sink){.piece = made->pieces[0]});
  if (status)
    penstock_unmap(made);
  else
    *view = made;
  return status;
}

static int lease(penstock_client* client, psk_piece* piece) {
  psk_link* link = client->cluster.on ? NULL : psk_shared_link(client, "", "", "");
  size_t bytes = piece->info.nbytes;
  int status = 0;
  if (link && !link->no_leases && bytes >= client->shared_from && bytes < link->arena->bytes) {
    piece->hold = psk_lease_block(client, link, bytes, piece->name, &status);
    if (status) return status;
  }
  if (!piece->hold) {
    size_t room = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    piece->data = piece->owned = room < bytes ? NULL : aligned_alloc(kAlignment, room);
    if (piece->owned) return 0;
    return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for %zu bytes", bytes);
  }
  piece->hold->of_view = 1;
  piece->hold->bytes = bytes;
  piece->data = psk_hold_data(piece->hold);
  psk_arena_touch(piece->hold->arena, piece->hold->offset, bytes);
  return 0;
}

int penstock_lease(penstock_client* client, penstock_dtype dtype, int rank, const int64_t* dims,
                   penstock_view** view) {
  psk_begin(client, "lease", "an array");
  int status = psk_check_array(client, "an array", &(penstock_array){"", dtype, rank, dims, NULL});
  if (!status && !view) status = psk_fail(client, PENSTOCK_INVALID, NULL, "view must not be NULL");
  if (status) return status;
  *view = NULL;
  penstock_view* made = view_of_one(client, "an array");
  if (!made) return client->error.status;
  penstock_info* info = &made->pieces[0]->info;
  *info = (penstock_info){.dtype = dtype, .rank = rank, .nbytes = psk_nbytes(dtype, rank, dims)};
  memcpy(info->dims, dims, (size_t)rank * sizeof *dims);
  status = lease(client, made->pieces[0]);
  if (status)
    penstock_unmap(made);
  else
    *view = made;
  return status;
}

// ---- Looking

static const psk_piece* piece_of(const penstock_view* view, int i) {
  return i >= 0 && i < view->count ? view->pieces[i] : NULL;
}

int penstock_view_count(const penstock_view* view) { return view->count; }

const char* penstock_view_name(const penstock_view* view, int i) {
  const psk_piece* piece = piece_of(view, i);
  return piece ? piece->name : NULL;
}

penstock_array penstock_view_array(const penstock_view* view, int i) {
  const psk_piece* piece = piece_of(view, i);
  if (!piece) return (penstock_array){0};
  return (penstock_array){piece->data, piece->info.dtype, piece->info.rank, piece->info.dims, NULL};
}

int penstock_view_is_shared(const penstock_view* view, int i) {
  const psk_piece* piece = piece_of(view, i);
  return piece && piece->hold;
}

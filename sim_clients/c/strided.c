// Arrays with gaps, or whose memory is in another order than the wire's, which is row-major.
//
// They are copied piece by piece through a buffer. What is next on the wire may lie far apart in memory, one
// element in each cache line, so a piece is taken whole along the dimension whose elements lie closest, where
// the buffer has room for several steps along it: then a line is read once for all of its elements. A buffer
// of a few MB has this room for most fields, and still stays in a cache.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

void psk_walk_over(psk_walk* walk, const penstock_array* array) {
  walk->data = array->data;
  walk->size = penstock_dtype_size(array->dtype);
  walk->rank = 0;
  walk->elements = 1;
  walk->done = 0;
  int64_t stride = (int64_t)walk->size;
  int64_t whole[PENSTOCK_MAX_RANK];
  for (int i = array->rank - 1; i >= 0; i--) {
    whole[i] = array->strides ? array->strides[i] : stride;
    stride *= array->dims[i];
  }
  for (int i = 0; i < array->rank; i++) {
    walk->elements *= array->dims[i];
    if (array->dims[i] == 1) continue;
    int last = walk->rank - 1;
    if (last >= 0 && walk->strides[last] == whole[i] * array->dims[i]) {
      walk->dims[last] *= array->dims[i];
      walk->strides[last] = whole[i];
    } else {
      walk->dims[walk->rank] = array->dims[i];
      walk->strides[walk->rank++] = whole[i];
    }
  }
}

int psk_walk_is_plain(const psk_walk* walk) {
  return walk->rank == 0 || (walk->rank == 1 && walk->strides[0] == (int64_t)walk->size);
}

// A tile of n0 x n1 elements, with strides in bytes on both sides.
typedef struct tile {
  char* to;
  const char* from;
  int64_t n0, n1, to0, to1, from0, from1;
} tile;

#define COPY_BY(bytes)                                                                         \
  for (int64_t strip = 0; strip < t->n1; strip += width) {                                     \
    int64_t end = strip + width < t->n1 ? strip + width : t->n1;                               \
    for (int64_t i = 0; i < t->n0; i++)                                                        \
      for (int64_t j = strip; j < end; j++)                                                    \
        memcpy(t->to + i * t->to0 + j * t->to1, t->from + i * t->from0 + j * t->from1, bytes); \
  }

// In strips as wide as a cache line, so that the lines of both sides are used up while they are there.
static void copy_tile(const tile* t, size_t size) {
  if (t->to1 == (int64_t)size && t->from1 == (int64_t)size) {
    for (int64_t i = 0; i < t->n0; i++)
      memcpy(t->to + i * t->to0, t->from + i * t->from0, (size_t)t->n1 * size);
    return;
  }
  int64_t width = size < 4 ? 16 : 64 / (int64_t)size;
  switch (size) {
    case 1:
      COPY_BY(1);
      break;
    case 2:
      COPY_BY(2);
      break;
    case 4:
      COPY_BY(4);
      break;
    case 8:
      COPY_BY(8);
      break;
    default:
      COPY_BY(16);
  }
}

// Where an element lies, counted in row-major order.
static char* element(const psk_walk* walk, int64_t number) {
  int64_t offset = 0;
  for (int i = walk->rank - 1; i >= 0; i--) {
    offset += number % walk->dims[i] * walk->strides[i];
    number /= walk->dims[i];
  }
  return walk->data + offset;
}

// The dimension along which elements lie closest, and how many elements are in one step along it.
static int closest(const psk_walk* walk, int64_t* slab) {
  int best = walk->rank - 1;
  for (int i = best - 1; i >= 0; i--)
    if (llabs(walk->strides[i]) < llabs(walk->strides[best])) best = i;
  *slab = 1;
  for (int i = walk->rank - 1; i > best; i--) *slab *= walk->dims[i];
  return best;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Copy the next elements, at most so many: several slabs at once, a tile of them for each index in between,
// or a row, or what is left of one. Returns how many.
static int64_t copy_some(const psk_walk* walk, char* packed, int64_t most, int gathering) {
  int64_t size = (int64_t)walk->size, slab, last = walk->rank - 1;
  int64_t width = walk->rank ? walk->dims[last] : 1, along = walk->rank ? walk->strides[last] : size;
  int64_t rows = 1, columns = least(width - walk->done % width, most), tiles = 1, across = 0;
  int close = walk->rank ? closest(walk, &slab) : 0;
  if (close < last && walk->done % slab == 0 && most >= slab) {
    rows = least(most / slab, walk->dims[close] - walk->done / slab % walk->dims[close]);
    columns = width;
    tiles = slab / width;
    across = walk->strides[close];
  }
  for (int64_t i = 0; i < tiles; i++) {
    char *array = element(walk, walk->done + i * width), *flat = packed + i * width * size;
    tile t = gathering ? (tile){flat, array, rows, columns, tiles * width * size, size, across, along}
                       : (tile){array, flat, rows, columns, across, along, tiles * width * size, size};
    copy_tile(&t, walk->size);
  }
  return rows * columns * tiles;
}

static size_t copy(psk_walk* walk, char* packed, size_t bytes, int gathering) {
  int64_t size = (int64_t)walk->size, done = 0;
  int64_t total = least((int64_t)(bytes / walk->size), walk->elements - walk->done);
  while (done < total) {
    int64_t some = copy_some(walk, packed + done * size, total - done, gathering);
    done += some;
    walk->done += some;
  }
  return (size_t)(done * size);
}

size_t psk_gather(psk_walk* walk, void* to, size_t room) { return copy(walk, to, room, 1); }

size_t psk_scatter(psk_walk* walk, const void* from, size_t bytes) {
  return copy(walk, (char*)(uintptr_t)from, bytes, 0);
}

// Arrays with gaps, or whose memory is in another order than the wire's, which is row-major.
//
// They are copied piece by piece through a buffer that stays in the cache. A piece is a tile of whole rows
// where that is possible, and within a tile the loop over the dimension with the smaller stride is the inner
// one: a column-major array is read along its columns.

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

#define COPY_BY(bytes)                  \
  for (int64_t i = 0; i < t->n0; i++)   \
    for (int64_t j = 0; j < t->n1; j++) \
  memcpy(t->to + i * t->to0 + j * t->to1, t->from + i * t->from0 + j * t->from1, bytes)

static void copy_in_order(const tile* t, size_t size) {
  if (t->to1 == (int64_t)size && t->from1 == (int64_t)size) {
    for (int64_t i = 0; i < t->n0; i++)
      memcpy(t->to + i * t->to0, t->from + i * t->from0, (size_t)t->n1 * size);
    return;
  }
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

static void copy_tile(tile t, int64_t array0, int64_t array1, size_t size) {
  if (llabs(array0) < llabs(array1)) {
    t = (tile){t.to, t.from, t.n1, t.n0, t.to1, t.to0, t.from1, t.from0};
  }
  copy_in_order(&t, size);
}

// Where the next element lies, and how many rows and columns of them can be taken at once.
static char* next_tile(const psk_walk* walk, int64_t most, int64_t* rows, int64_t* columns) {
  int last = walk->rank - 1;
  int64_t width = walk->rank ? walk->dims[last] : 1;
  int64_t left = walk->done, offset = 0, column = left % width, row_of_slab = 0;
  for (int i = last; i >= 0; i--) {
    int64_t at = left % walk->dims[i];
    left /= walk->dims[i];
    offset += at * walk->strides[i];
    if (i == last - 1) row_of_slab = at;
  }
  if (column != 0 || most < width) {
    *rows = 1;
    *columns = width - column < most ? width - column : most;
  } else {
    int64_t in_slab = walk->rank > 1 ? walk->dims[last - 1] - row_of_slab : 1;
    *rows = most / width < in_slab ? most / width : in_slab;
    *columns = width;
  }
  return walk->data + offset;
}

static size_t copy(psk_walk* walk, char* packed, size_t bytes, int gathering) {
  int64_t size = (int64_t)walk->size, total = (int64_t)(bytes / walk->size), done = 0;
  if (total > walk->elements - walk->done) total = walk->elements - walk->done;
  int64_t array1 = walk->rank > 0 ? walk->strides[walk->rank - 1] : size;
  int64_t array0 = walk->rank > 1 ? walk->strides[walk->rank - 2] : 0;
  while (done < total) {
    int64_t rows, columns;
    char* array = next_tile(walk, total - done, &rows, &columns);
    char* flat = packed + done * size;
    int64_t along = rows > 1 ? array0 : INT64_MAX;  // one row has one order
    if (gathering)
      copy_tile((tile){flat, array, rows, columns, columns * size, size, array0, array1}, along, array1,
                walk->size);
    else
      copy_tile((tile){array, flat, rows, columns, array0, array1, columns * size, size}, along, array1,
                walk->size);
    done += rows * columns;
    walk->done += rows * columns;
  }
  return (size_t)(done * size);
}

size_t psk_gather(psk_walk* walk, void* to, size_t room) { return copy(walk, to, room, 1); }

size_t psk_scatter(psk_walk* walk, const void* from, size_t bytes) {
  return copy(walk, (char*)(uintptr_t)from, bytes, 0);
}

// Walks over arrays of random shape, order, step and sign, against element by element.
#include "check.h"
#include "internal.h"

enum { kMaxElements = 6000, kRounds = 3000 };

typedef struct sample {
  penstock_array array;
  int64_t dims[5], strides[5];
  int64_t elements;
  char* memory;
} sample;

static penstock_dtype random_dtype(void) {
  static const penstock_dtype kAll[] = {PENSTOCK_INT8, PENSTOCK_INT16, PENSTOCK_FLOAT32, PENSTOCK_FLOAT64,
                                        PENSTOCK_COMPLEX128};
  return kAll[draw(5)];
}

// An array somewhere in memory: axes in random order, with gaps, some of them backwards.
static sample random_sample(void) {
  sample s = {0};
  s.array.dtype = random_dtype();
  s.array.rank = 1 + (int)draw(5);
  s.elements = 1;
  for (int i = 0; i < s.array.rank; i++) {
    s.dims[i] = 1 + draw(s.elements > 400 ? 3 : 12);
    s.elements *= s.dims[i];
  }
  int order[5] = {0, 1, 2, 3, 4};
  for (int i = s.array.rank - 1; i > 0; i--) {
    int k = (int)draw((unsigned)i + 1), swapped = order[i];
    order[i] = order[k];
    order[k] = swapped;
  }
  int64_t reach = (int64_t)penstock_dtype_size(s.array.dtype), begin = 0;
  for (int i = 0; i < s.array.rank; i++) {
    int axis = order[i];
    int64_t stride = reach * (1 + (draw(4) == 0));
    reach = stride * s.dims[axis];
    s.strides[axis] = stride;
    if (draw(4) == 0) {
      s.strides[axis] = -stride;
      begin += stride * (s.dims[axis] - 1);
    }
  }
  s.memory = malloc((size_t)reach);
  for (int64_t i = 0; i < reach; i++) s.memory[i] = (char)draw(256);
  s.array.data = s.memory + begin;
  return s;
}

static char* element(const sample* s, int64_t number) {
  char* at = s->array.data;
  for (int i = s->array.rank - 1; i >= 0; i--) {
    at += number % s->dims[i] * s->strides[i];
    number /= s->dims[i];
  }
  return at;
}

static void check_sample(sample* s) {
  size_t size = penstock_dtype_size(s->array.dtype), bytes = (size_t)s->elements * size;
  s->array.dims = s->dims;
  s->array.strides = s->strides;
  char *flat = malloc(bytes), *wanted = malloc(bytes);
  for (int64_t i = 0; i < s->elements; i++) memcpy(wanted + (size_t)i * size, element(s, i), size);
  psk_walk walk;
  psk_walk_over(&walk, &s->array);
  for (size_t at = 0; at < bytes;) {
    size_t room = size * (1 + draw(200));
    at += psk_gather(&walk, flat + at, room < bytes - at ? room : bytes - at);
  }
  CHECK(!memcmp(flat, wanted, bytes));
  CHECK(psk_gather(&walk, flat, bytes) == 0);
  for (size_t i = 0; i < bytes; i++) wanted[i] = (char)draw(256);
  psk_walk_over(&walk, &s->array);
  for (size_t at = 0; at < bytes;) {
    size_t piece = size * (1 + draw(200));
    at += psk_scatter(&walk, wanted + at, piece < bytes - at ? piece : bytes - at);
  }
  for (int64_t i = 0; i < s->elements; i++) CHECK(!memcmp(wanted + (size_t)i * size, element(s, i), size));
  free(flat);
  free(wanted);
  free(s->memory);
}

static void check_plain(void) {
  double data[6];
  int64_t dims[] = {2, 1, 3}, packed[] = {24, 5, 8}, turned[] = {8, 8, 16};
  psk_walk walk;
  psk_walk_over(&walk, &(penstock_array){data, PENSTOCK_FLOAT64, 3, dims, NULL});
  CHECK(psk_walk_is_plain(&walk));
  psk_walk_over(&walk, &(penstock_array){data, PENSTOCK_FLOAT64, 3, dims, packed});
  CHECK(psk_walk_is_plain(&walk));  // the stride of a dimension of 1 means nothing
  psk_walk_over(&walk, &(penstock_array){data, PENSTOCK_FLOAT64, 3, dims, turned});
  CHECK(!psk_walk_is_plain(&walk));
}

int main(void) {
  for (int i = 0; i < kRounds; i++) {
    sample s = random_sample();
    check_sample(&s);
  }
  check_plain();
  return report();
}

// What is known of a field beside its numbers: units, names of its dimensions, and the block of the global
// array that this rank has. It is told once for a field of a stream, and lies beside the time in the metadata
// of each snapshot, as plain SmartRedis metadata:
//
//   T.units   one string            T.dims    a string for each dimension
//   T.shape   the global array's shape, int64   T.offset  where the block begins in it, int64
//
// `described` owns what it holds, and so does a penstock_found of the client.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kMaxUnits = 80 };

static const char kUnits[] = ".units", kDims[] = ".dims", kShape[] = ".shape", kOffset[] = ".offset";

struct psk_described {
  psk_described* next;
  char* stream;
  char* field;
  penstock_about about;
};

// ---- Owning one

static int64_t* copied_numbers(const int64_t* from, int count) {
  int64_t* to = malloc((size_t)count * sizeof *to + 1);
  return to ? memcpy(to, from, (size_t)count * sizeof *to) : NULL;
}

static char** copied_texts(const char* const* from, int count) {
  char** to = calloc((size_t)count + 1, sizeof *to);
  for (int i = 0; to && i < count; i++) {
    if ((to[i] = strdup(from[i]))) continue;
    psk_free_strings(to, i);
    return NULL;
  }
  return to;
}

void psk_free_about(penstock_about* about) {
  free((void*)(uintptr_t)about->units);
  psk_free_strings((char**)(uintptr_t)about->dims, about->rank);
  free((void*)(uintptr_t)about->shape);
  free((void*)(uintptr_t)about->offset);
  *about = (penstock_about){0};
}

int psk_copy_about(penstock_about* to, const penstock_about* from) {
  *to = (penstock_about){.rank = from->rank};
  if (from->units) to->units = strdup(from->units);
  if (from->dims) to->dims = (const char* const*)copied_texts(from->dims, from->rank);
  if (from->shape) to->shape = copied_numbers(from->shape, from->rank);
  if (from->offset) to->offset = copied_numbers(from->offset, from->rank);
  if (!from->units == !to->units && !from->dims == !to->dims && !from->shape == !to->shape &&
      !from->offset == !to->offset)
    return 0;
  psk_free_about(to);
  return PENSTOCK_MEMORY;
}

int psk_same_block(const penstock_about* one, const penstock_about* other) {
  if (!one->shape || !other->shape) return !one->shape == !other->shape;
  size_t bytes = (size_t)one->rank * sizeof *one->shape;
  return one->rank == other->rank && !memcmp(one->shape, other->shape, bytes) &&
         !memcmp(one->offset, other->offset, bytes);
}

int psk_same_about(const penstock_about* one, const penstock_about* other) {
  if (!one->units != !other->units || !one->dims != !other->dims) return 0;
  if (one->units && strcmp(one->units, other->units)) return 0;
  if (one->dims && one->rank != other->rank) return 0;
  for (int i = 0; one->dims && i < one->rank; i++)
    if (strcmp(one->dims[i], other->dims[i])) return 0;
  return psk_same_block(one, other);
}

// ---- Telling

void psk_free_described(psk_described* one) {
  while (one) {
    psk_described* next = one->next;
    psk_free_about(&one->about);
    free(one->stream);
    free(one->field);
    free(one);
    one = next;
  }
}

static psk_described* find(const penstock_client* client, const char* stream, const char* field) {
  for (psk_described* one = client->described; one; one = one->next)
    if (!strcmp(one->field, field) && !strcmp(one->stream, stream)) return one;
  return NULL;
}

const penstock_about* psk_about(const penstock_client* client, const char* stream, const char* field) {
  static const penstock_about nothing;
  const psk_described* one = find(client, stream, field);
  return one ? &one->about : &nothing;
}

static int is_text(const char* text) {
  size_t length = strlen(text);
  for (const char* at = text; *at; at++)
    if ((unsigned char)*at < ' ' || *at == 0x7f || *at == ',') return 0;
  return length > 0 && length <= kMaxUnits && text[0] != ' ' && text[length - 1] != ' ';
}

static int check_dims(penstock_client* client, const char* field, const penstock_about* about) {
  for (int i = 0; about->dims && i < about->rank; i++) {
    int status = psk_check_name(client, "dimension", about->dims[i]);
    for (int k = 0; !status && k < i; k++)
      if (!strcmp(about->dims[k], about->dims[i]))
        status =
            psk_fail(client, PENSTOCK_TENSOR, field, "two of its dimensions are called '%s'", about->dims[i]);
    if (status) return status;
  }
  return 0;
}

static int check_told(penstock_client* client, const char* field, const penstock_about* about) {
  int lists = about->dims || about->shape || about->offset;
  if (about->units && !is_text(about->units))
    return psk_fail(client, PENSTOCK_TENSOR, field,
                    "its units '%.80s' are not 1 to %d bytes of text without commas and control characters",
                    about->units, kMaxUnits);
  if (lists && (about->rank < 1 || about->rank > PENSTOCK_MAX_RANK))
    return psk_fail(client, PENSTOCK_TENSOR, field, "a rank is 1 to %d, got %d", PENSTOCK_MAX_RANK,
                    about->rank);
  if (!about->shape != !about->offset)
    return psk_fail(client, PENSTOCK_TENSOR, field,
                    "a block has the shape of the global array and its own offset in it, got one of the two");
  for (int i = 0; about->shape && i < about->rank; i++)
    if (about->shape[i] < 1)
      return psk_fail(client, PENSTOCK_TENSOR, field, "dimension %d of the global array is %lld", i,
                      (long long)about->shape[i]);
  return check_dims(client, field, about);
}

int penstock_describe_field(penstock_client* client, const char* stream, const char* field,
                            const penstock_about* about) {
  psk_begin(client, "describe field", field);
  int status = psk_check_name(client, "stream", stream);
  if (!status) status = psk_check_field(client, field);
  if (!status && about) status = check_told(client, field, about);
  if (status) return status;
  penstock_about copy = {0};
  if (about && psk_copy_about(&copy, about))
    return psk_fail(client, PENSTOCK_MEMORY, field, "no memory for it");
  psk_described* one = find(client, stream, field);
  if (!one) {
    one = calloc(1, sizeof *one);
    char *of = strdup(stream), *name = strdup(field);
    if (!one || !of || !name) {
      free(one);
      free(of);
      free(name);
      psk_free_about(&copy);
      return psk_fail(client, PENSTOCK_MEMORY, field, "no memory for it");
    }
    *one = (psk_described){.next = client->described, .stream = of, .field = name};
    client->described = one;
  }
  psk_free_about(&one->about);
  one->about = copy;
  return 0;
}

// "(64, 128)"
static const char* shape_text(char* text, size_t room, int rank, const int64_t* dims) {
  char with_dtype[256];
  psk_describe(with_dtype, sizeof with_dtype, PENSTOCK_INT8, rank, dims);
  snprintf(text, room, "%s", strchr(with_dtype, '('));
  return text;
}

const char* psk_block_text(char* text, size_t room, const penstock_array* array,
                           const penstock_about* about) {
  char size[256], offset[256];
  if (about->shape)
    snprintf(text, room, "%s at %s", shape_text(size, sizeof size, array->rank, array->dims),
             shape_text(offset, sizeof offset, about->rank, about->offset));
  else
    snprintf(text, room, "%s", shape_text(size, sizeof size, array->rank, array->dims));
  return text;
}

static int lies_within(const penstock_about* about, int rank, const int64_t* dims) {
  int fits = about->rank == rank;
  for (int i = 0; fits && i < rank; i++)
    fits = about->shape[i] > 0 && about->offset[i] >= 0 && about->offset[i] <= about->shape[i] - dims[i];
  return fits;
}

int psk_check_about(penstock_client* client, const penstock_field* field, const penstock_about* about) {
  const penstock_array* array = &field->array;
  if (about->dims && about->rank != array->rank)
    return psk_fail(client, PENSTOCK_TENSOR, field->name, "it has %d dimensions, and names for %d",
                    array->rank, about->rank);
  if (!about->shape || lies_within(about, array->rank, array->dims)) return 0;
  char block[600], all[256];
  return psk_fail(client, PENSTOCK_TENSOR, field->name,
                  "the block %s does not lie within the global array %s",
                  psk_block_text(block, sizeof block, array, about),
                  shape_text(all, sizeof all, about->rank, about->shape));
}

// ---- On the wire

static char* joined(const char* field, const char* what) {
  size_t room = strlen(field) + strlen(what) + 1;
  char* name = malloc(room);
  if (name) snprintf(name, room, "%s%s", field, what);
  return name;
}

static int add_numbers(psk_metadata_list* list, const char* field, const char* what, const int64_t* numbers,
                       int count) {
  char* name = joined(field, what);
  int status = name ? 0 : PENSTOCK_MEMORY;
  for (int i = 0; !status && i < count; i++) status = psk_add_scalar(list, name, PENSTOCK_INT64, &numbers[i]);
  free(name);
  return status;
}

static int add_texts(psk_metadata_list* list, const char* field, const char* what, const char* const* texts,
                     int count) {
  char* name = joined(field, what);
  int status = name ? 0 : PENSTOCK_MEMORY;
  for (int i = 0; !status && i < count; i++) status = psk_add_string(list, name, texts[i]);
  free(name);
  return status;
}

int psk_add_about(psk_metadata_list* list, const char* field, const penstock_about* about) {
  int status = about->units ? add_texts(list, field, kUnits, &about->units, 1) : 0;
  if (!status && about->dims) status = add_texts(list, field, kDims, about->dims, about->rank);
  if (!status && about->shape) status = add_numbers(list, field, kShape, about->shape, about->rank);
  if (!status && about->offset) status = add_numbers(list, field, kOffset, about->offset, about->rank);
  return status;
}

// ---- From the wire

static const psk_metadata* list_of(const psk_metadata_list* metadata, const char* field, const char* what) {
  char* name = joined(field, what);
  const psk_metadata* found = name ? psk_find_metadata(metadata, name) : NULL;
  free(name);
  return found;
}

// The integers of a list, to be freed. NULL: it has others. Sets *count.
static int64_t* numbers_of(const psk_bytes* packed, int* count) {
  penstock_dtype dtype = psk_packed_dtype(packed);
  if (dtype != PENSTOCK_INT64 && dtype != PENSTOCK_INT32 && dtype != PENSTOCK_UINT64 &&
      dtype != PENSTOCK_UINT32)
    return NULL;
  size_t size = penstock_dtype_size(dtype), many = (packed->used - 1) / size;
  int64_t* numbers = calloc(many + 1, sizeof *numbers);
  for (size_t i = 0; numbers && i < many; i++) {
    memcpy(&numbers[i], packed->at + 1 + i * size, size);  // little-endian, as the wire is
    if (dtype == PENSTOCK_INT32) numbers[i] = (int32_t)numbers[i];
  }
  *count = (int)many;
  return numbers;
}

// Take one list, of as many values as the lists before it.
static int take_list(penstock_client* client, const char* snapshot, const psk_metadata_list* metadata,
                     const char* field, const char* what, penstock_about* about) {
  const psk_metadata* list = list_of(metadata, field, what);
  if (!list) return 0;
  int count = 0, of_texts = what == kDims || what == kUnits;
  void* values =
      of_texts ? (void*)psk_packed_strings(&list->packed, &count) : (void*)numbers_of(&list->packed, &count);
  int good = values && (what == kUnits ? count == 1 : count > 0 && (!about->rank || about->rank == count));
  if (!good) {
    if (of_texts)
      psk_free_strings(values, count);
    else
      free(values);
    return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot, "its metadata '%s%s' are not what tells of a field",
                    field, what);
  }
  if (what == kUnits) {
    about->units = *(char**)values;
    free(values);
    return 0;
  }
  about->rank = count;
  if (what == kDims) about->dims = values;
  if (what == kShape) about->shape = values;
  if (what == kOffset) about->offset = values;
  return 0;
}

static int take_about(penstock_client* client, const char* snapshot, const psk_metadata_list* metadata,
                      const char* field, penstock_about* about) {
  int status = take_list(client, snapshot, metadata, field, kUnits, about);
  if (!status) status = take_list(client, snapshot, metadata, field, kDims, about);
  if (!status) status = take_list(client, snapshot, metadata, field, kShape, about);
  if (!status) status = take_list(client, snapshot, metadata, field, kOffset, about);
  if (!status && !about->shape != !about->offset)
    status = psk_fail(client, PENSTOCK_SNAPSHOT, snapshot, "its metadata have one of '%s%s' and '%s%s'",
                      field, kShape, field, kOffset);
  return status;
}

void psk_free_fields(penstock_found* fields, int count) {
  for (int i = 0; i < count; i++) {
    free((void*)(uintptr_t)fields[i].name);
    psk_free_about(&fields[i].about);
  }
  free(fields);
}

void psk_free_found(penstock_client* client) {
  psk_free_fields(client->found_fields, client->n_found);
  client->found_fields = NULL;
  client->n_found = 0;
}

int psk_take_found(penstock_client* client, const char* snapshot, const psk_metadata_list* metadata,
                   char** fields, int count) {
  psk_free_found(client);
  client->found_fields = calloc((size_t)count + 1, sizeof *client->found_fields);
  if (!client->found_fields) return psk_fail(client, PENSTOCK_MEMORY, snapshot, "no memory for a snapshot");
  for (int i = 0; i < count; i++) {
    penstock_found* one = &client->found_fields[client->n_found];
    if (!(one->name = strdup(fields[i])))
      return psk_fail(client, PENSTOCK_MEMORY, snapshot, "no memory for a snapshot");
    client->n_found++;
    int status = take_about(client, snapshot, metadata, fields[i], &one->about);
    if (status) return status;
  }
  return 0;
}

int psk_check_found(penstock_client* client, const char* snapshot) {
  for (int i = 0; i < client->n_found; i++) {
    const penstock_found* one = &client->found_fields[i];
    if (!one->about.rank || !one->info.rank) continue;
    if (one->about.rank != one->info.rank)
      return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                      "the field '%s' has %d dimensions, its metadata tell of %d", one->name, one->info.rank,
                      one->about.rank);
    if (!one->about.shape || lies_within(&one->about, one->info.rank, one->info.dims)) continue;
    const penstock_array array = {.rank = one->info.rank, .dims = one->info.dims};
    char block[600], all[256];
    return psk_fail(client, PENSTOCK_SNAPSHOT, snapshot,
                    "by its metadata the field '%s' is the block %s of the global array %s", one->name,
                    psk_block_text(block, sizeof block, &array, &one->about),
                    shape_text(all, sizeof all, one->about.rank, one->about.shape));
  }
  return 0;
}

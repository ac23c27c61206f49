// What may be part of a key, what may be an array, and what they are called.

#include <stdio.h>
#include <string.h>

#include "internal.h"

typedef struct dtype {
  const char* name;
  const char* wire;
  size_t size;
} dtype;

static const dtype kDtypes[] = {
    [PENSTOCK_FLOAT64] = {"float64", "DOUBLE", 8},
    [PENSTOCK_FLOAT32] = {"float32", "FLOAT", 4},
    [PENSTOCK_INT64] = {"int64", "INT64", 8},
    [PENSTOCK_INT32] = {"int32", "INT32", 4},
    [PENSTOCK_INT16] = {"int16", "INT16", 2},
    [PENSTOCK_INT8] = {"int8", "INT8", 1},
    [PENSTOCK_UINT16] = {"uint16", "UINT16", 2},
    [PENSTOCK_UINT8] = {"uint8", "UINT8", 1},
    [PENSTOCK_BOOL] = {"bool", "BOOL", 1},
    [PENSTOCK_FLOAT16] = {"float16", "FLOAT16", 2},
    [PENSTOCK_BFLOAT16] = {"bfloat16", "BFLOAT16", 2},
    [PENSTOCK_UINT32] = {"uint32", "UINT32", 4},
    [PENSTOCK_UINT64] = {"uint64", "UINT64", 8},
    [PENSTOCK_COMPLEX64] = {"complex64", "COMPLEX64", 8},
    [PENSTOCK_COMPLEX128] = {"complex128", "COMPLEX128", 16},
};

enum { kDtypesEnd = sizeof kDtypes / sizeof *kDtypes };

static int is_dtype(penstock_dtype dtype) { return (int)dtype > 0 && (int)dtype < kDtypesEnd; }

const char* penstock_dtype_name(penstock_dtype dtype) { return is_dtype(dtype) ? kDtypes[dtype].name : NULL; }

size_t penstock_dtype_size(penstock_dtype dtype) { return is_dtype(dtype) ? kDtypes[dtype].size : 0; }

const char* psk_wire_dtype(penstock_dtype dtype) { return kDtypes[dtype].wire; }

penstock_dtype psk_dtype_of_wire(const char* name) {
  for (int i = 1; i < kDtypesEnd; i++)
    if (!strcmp(kDtypes[i].wire, name)) return (penstock_dtype)i;
  return (penstock_dtype)0;
}

size_t psk_nbytes(penstock_dtype dtype, int rank, const int64_t* dims) {
  size_t bytes = penstock_dtype_size(dtype);
  for (int i = 0; i < rank; i++) {
    size_t next;
    if (dims[i] < 0 || __builtin_mul_overflow(bytes, (size_t)dims[i], &next) || next > PTRDIFF_MAX) return 0;
    bytes = next;
  }
  return bytes;
}

const char* psk_describe(char* text, size_t room, penstock_dtype dtype, int rank, const int64_t* dims) {
  const char* name = penstock_dtype_name(dtype);
  size_t used = (size_t)snprintf(text, room, "%s (", name ? name : "?");
  for (int i = 0; i < rank && used + 1 < room; i++) {
    int n = snprintf(text + used, room - used, "%s%lld", i ? ", " : "", (long long)dims[i]);
    used += (size_t)n;
  }
  if (used + 1 < room) snprintf(text + used, room - used, rank == 1 ? ",)" : ")");
  return text;
}

int psk_check_name(penstock_client* client, const char* what, const char* name) {
  static const char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+=/-";
  if (name && *name && name[strspn(name, kLetters)] == '\0') return 0;
  return psk_fail(client, PENSTOCK_NAME, name ? name : "", "%s: use letters, digits and _ . + = / - only",
                  what);
}

void psk_contract_key(penstock_client* client, const char* stream) {
  psk_key(client, "{", stream, "}.contract", NULL);
}

int psk_check_field(penstock_client* client, const char* name) {
  if (name && !strcmp(name, "meta"))
    return psk_fail(client, PENSTOCK_NAME, name, "field: SmartRedis keeps the names of the fields under it");
  return psk_check_name(client, "field", name);
}

int psk_check_model(penstock_client* client, const char* name) {
  if (name && !strncmp(name, "flag.", 5))
    return psk_fail(client, PENSTOCK_NAME, name, "model: the keys of flags begin with flag.");
  if (name && !strcmp(name, "snapshots"))
    return psk_fail(client, PENSTOCK_NAME, name, "model: the stream of snapshots has this key");
  return psk_check_name(client, "model", name);
}

int psk_check_array(penstock_client* client, const char* label, const penstock_array* array) {
  if (!array || !array->data) return psk_fail(client, PENSTOCK_TENSOR, label, "there is no array (NULL)");
  if (!is_dtype(array->dtype))
    return psk_fail(client, PENSTOCK_TENSOR, label, "%d is no dtype; use one of penstock_dtype",
                    (int)array->dtype);
  if (array->rank < 1 || array->rank > PENSTOCK_MAX_RANK || !array->dims)
    return psk_fail(client, PENSTOCK_TENSOR, label,
                    "a rank is 1 to %d, got %d; a single number is an array of shape (1,)", PENSTOCK_MAX_RANK,
                    array->rank);
  for (int i = 0; i < array->rank; i++)
    if (array->dims[i] < 1)
      return psk_fail(client, PENSTOCK_TENSOR, label, "dimension %d is %lld: there are no elements", i,
                      (long long)array->dims[i]);
  if (psk_nbytes(array->dtype, array->rank, array->dims) == 0)
    return psk_fail(client, PENSTOCK_TENSOR, label, "its dimensions are larger than any memory");
  return 0;
}

// Turns Fortran's descriptors into arrays of penstock.h, so that one procedure takes every type, kind and
// rank.
//
// A descriptor (CFI_cdesc_t) is made by the Fortran compiler, whose ISO_Fortran_binding.h this file includes:
// the two must be of one family, as gfortran and gcc, ifx and icx, flang and clang. No element is copied
// here, except by psf_get_snapshot.
//
// Memory. A psf_fields has the names and descriptions of arrays that Fortran passes one by one; each call
// that takes one frees it.

#include <ISO_Fortran_binding.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock.h"

#define PSF_API __attribute__((visibility("default")))

enum { kMaxFields = 16 };

typedef struct described {
  penstock_array array;
  int64_t dims[CFI_MAX_RANK + 1];
  int64_t strides[CFI_MAX_RANK + 1];
} described;

typedef struct psf_fields {
  int count;
  int status;
  char* names[kMaxFields];
  described of[kMaxFields];
} psf_fields;

static _Thread_local char own_error[512];  // "" where the library has the text

// What went wrong in the call that has just failed. To be asked once.
PSF_API const char* psf_error(const penstock_client* client) {
  static _Thread_local char last[sizeof own_error];
  if (!own_error[0]) return penstock_error(client);
  memcpy(last, own_error, sizeof last);
  own_error[0] = '\0';
  return last;
}

static int refuse(const char* name, const char* reason) {
  snprintf(own_error, sizeof own_error, "tensor '%s': %s", name, reason);
  return PENSTOCK_TENSOR;
}

// ---- What an array is

static penstock_dtype integer_of(size_t size) {
  switch (size) {
    case 1:
      return PENSTOCK_INT8;
    case 2:
      return PENSTOCK_INT16;
    case 4:
      return PENSTOCK_INT32;
    case 8:
      return PENSTOCK_INT64;
    default:
      return (penstock_dtype)0;
  }
}

// The codes of types may coincide, differently in each compiler, so this cannot be a switch. 0: none of ours.
static penstock_dtype dtype_of(const CFI_cdesc_t* array) {
  const CFI_type_t type = array->type;
  if (type == CFI_type_double) return PENSTOCK_FLOAT64;
  if (type == CFI_type_float) return PENSTOCK_FLOAT32;
  if (type == CFI_type_double_Complex) return PENSTOCK_COMPLEX128;
  if (type == CFI_type_float_Complex) return PENSTOCK_COMPLEX64;
  if (type == CFI_type_Bool) return PENSTOCK_BOOL;
  if (type == CFI_type_int8_t || type == CFI_type_int16_t || type == CFI_type_int32_t ||
      type == CFI_type_int64_t || type == CFI_type_signed_char || type == CFI_type_short ||
      type == CFI_type_int || type == CFI_type_long || type == CFI_type_long_long)
    return integer_of(array->elem_len);
  return (penstock_dtype)0;
}

// `reversed`: the dimensions in the order of memory, last one first. A scalar is an array of one element.
static int describe(const char* name, const CFI_cdesc_t* from, int reversed, described* to) {
  to->array = (penstock_array){from->base_addr, dtype_of(from), from->rank, to->dims, to->strides};
  if (!to->array.dtype)
    return refuse(name,
                  "its type cannot be sent; use real32, real64, int8, int16, int32, int64, complex of "
                  "real32 or real64, or logical(c_bool)");
  if (!from->base_addr) return refuse(name, "it is not allocated, or not associated");
  for (int i = 0; i < from->rank; i++) {
    int at = reversed ? from->rank - 1 - i : i;
    if (from->dim[i].extent < 0)
      return refuse(name, "the extent of an assumed-size array is not known; pass a section, as u(1:n)");
    to->dims[at] = from->dim[i].extent;
    to->strides[at] = from->dim[i].sm;
  }
  if (from->rank == 0) {
    to->array.rank = 1;
    to->dims[0] = 1;
    to->strides[0] = (int64_t)from->elem_len;
  }
  return 0;
}

// ---- Tensors

PSF_API int psf_put_tensor(penstock_client* client, const char* name, const CFI_cdesc_t* array, int reversed,
                           int async) {
  described it;
  int status = describe(name, array, reversed, &it);
  if (status) return status;
  return async ? penstock_put_tensor_async(client, name, &it.array)
               : penstock_put_tensor(client, name, &it.array);
}

PSF_API int psf_get_tensor(penstock_client* client, const char* name, const CFI_cdesc_t* array,
                           int reversed) {
  described it;
  int status = describe(name, array, reversed, &it);
  return status ? status : penstock_get_tensor(client, name, &it.array);
}

// Allocate an array to the shape that the tensor has, then receive it.
static int get_new(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  penstock_info info;
  int status = penstock_tensor_info(client, name, &info);
  if (status) return status;
  char reason[160];
  snprintf(reason, sizeof reason,
           "the database has %s of rank %d, the array to be allocated is %s of rank %d",
           penstock_dtype_name(info.dtype), info.rank,
           dtype_of(array) ? penstock_dtype_name(dtype_of(array)) : "?", (int)array->rank);
  if (info.dtype != dtype_of(array) || info.rank != array->rank) return refuse(name, reason);
  CFI_index_t lower[CFI_MAX_RANK], upper[CFI_MAX_RANK];
  for (int i = 0; i < info.rank; i++) {
    lower[i] = 1;
    upper[i] = (CFI_index_t)info.dims[reversed ? info.rank - 1 - i : i];
  }
  if (array->base_addr) CFI_deallocate(array);
  if (CFI_allocate(array, lower, upper, array->elem_len)) return refuse(name, "no memory for it");
  return psf_get_tensor(client, name, array, reversed);
}

// A name for each type, because to Fortran they are procedures of different interfaces.
PSF_API int psf_new_real64(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}
PSF_API int psf_new_real32(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}
PSF_API int psf_new_int64(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}
PSF_API int psf_new_int32(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}
PSF_API int psf_new_int16(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}
PSF_API int psf_new_int8(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}
PSF_API int psf_new_complex64(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}
PSF_API int psf_new_complex32(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}
PSF_API int psf_new_bool(penstock_client* client, const char* name, CFI_cdesc_t* array, int reversed) {
  return get_new(client, name, array, reversed);
}

// dims has room for PENSTOCK_MAX_RANK.
PSF_API int psf_tensor_info(penstock_client* client, const char* name, int reversed, int* dtype, int* rank,
                            int64_t* dims) {
  penstock_info info;
  int status = penstock_tensor_info(client, name, &info);
  if (status) return status;
  *dtype = (int)info.dtype;
  *rank = info.rank;
  for (int i = 0; i < info.rank; i++) dims[i] = info.dims[reversed ? info.rank - 1 - i : i];
  return 0;
}

// ---- Views

PSF_API int psf_lease(penstock_client* client, const char* dtype, int rank, const int64_t* dims,
                      penstock_view** view) {
  penstock_dtype number = PENSTOCK_FLOAT64;
  while (penstock_dtype_name(number) && strcmp(penstock_dtype_name(number), dtype)) number++;
  return penstock_lease(client, number, rank, dims, view);  // which refuses a number that is none
}

PSF_API void* psf_view_data(const penstock_view* view) { return penstock_view_array(view, 0).data; }

PSF_API void psf_view_layout(const penstock_view* view, int* dtype, int* rank, int64_t* dims) {
  penstock_array array = penstock_view_array(view, 0);
  *dtype = (int)array.dtype;
  *rank = array.rank;
  memcpy(dims, array.dims, (size_t)array.rank * sizeof *dims);
}

// ---- Several arrays

PSF_API psf_fields* psf_fields_new(void) { return calloc(1, sizeof(psf_fields)); }

static int free_fields(psf_fields* fields, int status) {
  for (int i = 0; fields && i < fields->count; i++) free(fields->names[i]);
  free(fields);
  return status;
}

// An error is kept for the call that takes the fields.
PSF_API void psf_fields_add(psf_fields* fields, const char* name, const CFI_cdesc_t* array, int reversed) {
  if (!fields || fields->status || fields->count == kMaxFields) return;
  fields->status = describe(name, array, reversed, &fields->of[fields->count]);
  if (fields->status) return;
  fields->names[fields->count] = strdup(name);
  if (fields->names[fields->count])
    fields->count++;
  else
    fields->status = PENSTOCK_MEMORY;
}

// A name came without an array, or an array without a name.
PSF_API void psf_fields_unpaired(psf_fields* fields) {
  if (!fields || fields->status) return;
  snprintf(own_error, sizeof own_error, "after %d fields: a name and an array belong together",
           fields->count);
  fields->status = PENSTOCK_INVALID;
}

static int check_fields(const psf_fields* fields) {
  if (fields && fields->status != PENSTOCK_MEMORY) return fields->status;
  snprintf(own_error, sizeof own_error, "no memory for a list of fields");
  return PENSTOCK_MEMORY;
}

PSF_API int psf_put_snapshot(penstock_client* client, const char* stream, int64_t step, double time,
                             psf_fields* fields, int async) {
  int status = check_fields(fields);
  if (status) return free_fields(fields, status);
  penstock_field list[kMaxFields];
  for (int i = 0; i < fields->count; i++) list[i] = (penstock_field){fields->names[i], fields->of[i].array};
  status = async ? penstock_put_snapshot_async(client, stream, step, time, list, fields->count)
                 : penstock_put_snapshot(client, stream, step, time, list, fields->count);
  return free_fields(fields, status);
}

// ---- Getting a snapshot

typedef struct wanted {
  psf_fields* fields;
  void* packed[kMaxFields];  // what has come, row-major; NULL where it went straight to its array
  int found[kMaxFields];
  void* unwanted;
} wanted;

static int has_shape(const penstock_array* array, const penstock_info* info) {
  if (array->dtype != info->dtype || array->rank != info->rank) return 0;
  for (int i = 0; i < info->rank; i++)
    if (array->dims[i] != info->dims[i]) return 0;
  return 1;
}

static int is_row_major(const penstock_array* array) {
  int64_t stride = (int64_t)penstock_dtype_size(array->dtype);
  for (int i = array->rank - 1; i >= 0; stride *= array->dims[i--])
    if (array->dims[i] > 1 && array->strides[i] != stride) return 0;
  return 1;
}

static void refuse_shape(const char* name, const penstock_info* info) {
  char text[256];
  int used = snprintf(text, sizeof text, "the snapshot has it as %s (", penstock_dtype_name(info->dtype));
  for (int i = 0; i < info->rank && used < (int)sizeof text; i++)
    used +=
        snprintf(text + used, sizeof text - (size_t)used, i ? ", %lld" : "%lld", (long long)info->dims[i]);
  if (used < (int)sizeof text)
    snprintf(text + used, sizeof text - (size_t)used, info->rank == 1 ? ",)" : ")");
  refuse(name, text);
}

// Where a field of the snapshot goes. One that is not asked for is dropped.
static void* place(void* context, const char* name, const penstock_info* info) {
  wanted* all = context;
  int i = 0;
  while (i < all->fields->count && strcmp(all->fields->names[i], name)) i++;
  void** room = i < all->fields->count ? &all->packed[i] : &all->unwanted;
  free(*room);
  *room = NULL;
  if (i < all->fields->count) {
    const penstock_array* array = &all->fields->of[i].array;
    if (!has_shape(array, info)) {
      refuse_shape(name, info);
      return NULL;
    }
    all->found[i] = 1;
    if (is_row_major(array)) return array->data;
  }
  return *room = malloc(info->nbytes ? info->nbytes : 1);
}

// Spread packed elements over an array with strides, the first dimension outermost.
static const char* spread(const penstock_array* array, int dimension, char* to, const char* from) {
  size_t size = penstock_dtype_size(array->dtype);
  if (dimension == array->rank) {
    memcpy(to, from, size);
    return from + size;
  }
  for (int64_t i = 0; i < array->dims[dimension]; i++)
    from = spread(array, dimension + 1, to + i * array->strides[dimension], from);
  return from;
}

// Fill the arrays with the fields of their names. An array that is not row-major is filled from a copy.
PSF_API int psf_get_snapshot(penstock_client* client, const char* stream, int64_t position,
                             psf_fields* fields, penstock_snapshot* snapshot) {
  int status = check_fields(fields);
  if (status) return free_fields(fields, status);
  wanted all = {.fields = fields};
  status = penstock_get_snapshot(client, stream, position, place, &all, snapshot);
  if (status == PENSTOCK_MEMORY && own_error[0]) status = PENSTOCK_TENSOR;
  for (int i = 0; i < fields->count; i++) {
    const penstock_array* array = &fields->of[i].array;
    if (!status && !all.found[i]) {
      snprintf(own_error, sizeof own_error, "the snapshot at %lld of %s has no field '%s'",
               (long long)position, stream, fields->names[i]);
      status = PENSTOCK_SNAPSHOT;
    }
    if (!status && all.packed[i]) spread(array, 0, array->data, all.packed[i]);
    free(all.packed[i]);
  }
  free(all.unwanted);
  return free_fields(fields, status);
}

PSF_API int psf_infer(penstock_client* client, const char* model, int64_t version, psf_fields* inputs,
                      psf_fields* outputs) {
  int status = check_fields(inputs);
  if (!status) status = check_fields(outputs);
  if (!status) {
    penstock_array from[kMaxFields], to[kMaxFields];
    for (int i = 0; i < inputs->count; i++) from[i] = inputs->of[i].array;
    for (int i = 0; i < outputs->count; i++) to[i] = outputs->of[i].array;
    status = penstock_infer(client, model, version, from, inputs->count, to, outputs->count);
  }
  free_fields(inputs, status);
  return free_fields(outputs, status);
}

// Turns Fortran's descriptors into arrays of penstock.h, so that one procedure takes every type, kind and
// rank.
//
// A descriptor (CFI_cdesc_t) is made by the Fortran compiler, whose ISO_Fortran_binding.h this file includes:
// the two must be of one family, as gfortran and gcc, ifx and icx, flang and clang. No element is copied
// here.
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

// Of which the Fortran compiler may have passed a length that the procedure does not know.
PSF_API int psf_is_text(const CFI_cdesc_t* array) {
#ifdef CFI_type_ucs4_char
  if (array->type == CFI_type_ucs4_char) return 1;
#endif
  return array->type == CFI_type_char;
}

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

// Fill the arrays with the fields of their names: each goes from the socket to where it belongs.
PSF_API int psf_get_snapshot(penstock_client* client, const char* stream, int64_t position,
                             psf_fields* fields, penstock_snapshot* snapshot) {
  int status = check_fields(fields);
  if (status) return free_fields(fields, status);
  penstock_field list[kMaxFields];
  for (int i = 0; i < fields->count; i++) list[i] = (penstock_field){fields->names[i], fields->of[i].array};
  status = penstock_get_snapshot_fields(client, stream, position, list, fields->count, snapshot);
  return free_fields(fields, status);
}

// ---- What is known of a field

// `dims` are names between blanks, "" for none, `shape` and `offset` have `rank` entries, 0 for none; all in
// the order of Fortran's array.
PSF_API int psf_describe_field(penstock_client* client, const char* stream, const char* field,
                               const char* units, const char* dims, int rank, const int64_t* shape,
                               const int64_t* offset, int reversed) {
  char* names = strdup(dims);
  const char* in_order[PENSTOCK_MAX_RANK];
  int64_t whole[PENSTOCK_MAX_RANK], start[PENSTOCK_MAX_RANK];
  int count = 0;
  if (!names) return refuse(field, "no memory for the names of its dimensions");
  char* rest = names;
  for (char* name = strtok_r(names, " ", &rest); name && count < PENSTOCK_MAX_RANK;
       name = strtok_r(NULL, " ", &rest))
    in_order[count++] = name;
  if (rank > PENSTOCK_MAX_RANK || (rank && count && rank != count)) {
    free(names);
    return refuse(field, "dims, shape and offset have one entry for each dimension");
  }
  int all = rank ? rank : count;
  for (int i = 0; i < rank; i++) {
    whole[i] = shape[reversed ? rank - 1 - i : i];
    start[i] = offset[reversed ? rank - 1 - i : i];
  }
  for (int i = 0; reversed && i < count / 2; i++) {
    const char* one = in_order[i];
    in_order[i] = in_order[count - 1 - i];
    in_order[count - 1 - i] = one;
  }
  const penstock_about about = {*units ? units : NULL, all, count ? in_order : NULL, rank ? whole : NULL,
                                rank ? start : NULL};
  int status = penstock_describe_field(client, stream, field, &about);
  free(names);
  return status;
}

// What a field of a snapshot is. `dims`, `shape` and `offset` have room for PENSTOCK_MAX_RANK; *blocks is 0
// where it has no block. *units and *names, between blanks, hold until the next call of this thread.
PSF_API int psf_field_info(penstock_client* client, const char* stream, int64_t position, const char* field,
                           int reversed, int* dtype, int* rank, int64_t* dims, int* blocks, int64_t* shape,
                           int64_t* offset, const char** units, const char** names) {
  static _Thread_local char joined[1024];
  penstock_snapshot snapshot;
  int status = penstock_snapshot_info(client, stream, position, &snapshot);
  if (status) return status;
  const penstock_found* found = NULL;
  for (int i = 0; i < snapshot.count && !found; i++)
    if (!strcmp(snapshot.fields[i].name, field)) found = &snapshot.fields[i];
  if (!found) {
    snprintf(own_error, sizeof own_error, "the snapshot at %lld of %s has no field '%s'", (long long)position,
             stream, field);
    return PENSTOCK_SNAPSHOT;
  }
  *dtype = (int)found->info.dtype;
  *rank = found->info.rank;
  *blocks = found->about.shape != NULL;
  *units = found->about.units ? found->about.units : "";
  *names = joined;
  joined[0] = '\0';
  for (int i = 0; i < *rank; i++) {
    int from = reversed ? *rank - 1 - i : i;
    dims[i] = found->info.dims[from];
    if (*blocks) {
      shape[i] = found->about.shape[from];
      offset[i] = found->about.offset[from];
    }
    size_t used = strlen(joined);
    if (!found->about.dims) continue;
    int length = snprintf(joined + used, sizeof joined - used, i ? " %s" : "%s", found->about.dims[from]);
    if ((size_t)length >= sizeof joined - used)
      return refuse(field, "the names of its dimensions are too long");
  }
  return 0;
}

static void* allocate_bytes(void* context, const char* name, const penstock_info* info) {
  (void)name;
  CFI_cdesc_t* array = context;
  CFI_index_t lower[] = {1}, upper[] = {(CFI_index_t)info->nbytes};
  if (array->base_addr) CFI_deallocate(array);
  return CFI_allocate(array, lower, upper, array->elem_len) ? NULL : array->base_addr;
}

// The array is of one dimension and of int8.
PSF_API int psf_get_model(penstock_client* client, const char* model, int64_t version, CFI_cdesc_t* array) {
  return penstock_get_model(client, model, version, allocate_bytes, array);
}

// `answered`, where it is not NULL, is set to the version that has answered, the live one.
static int infer(penstock_client* client, const char* model, int64_t version, psf_fields* inputs,
                 psf_fields* outputs, int64_t* answered) {
  int status = check_fields(inputs);
  if (!status) status = check_fields(outputs);
  if (!status) {
    penstock_array from[kMaxFields], to[kMaxFields];
    for (int i = 0; i < inputs->count; i++) from[i] = inputs->of[i].array;
    for (int i = 0; i < outputs->count; i++) to[i] = outputs->of[i].array;
    if (answered)
      status = penstock_infer_versioned(client, model, from, inputs->count, to, outputs->count, answered);
    else
      status = penstock_infer(client, model, version, from, inputs->count, to, outputs->count);
  }
  free_fields(inputs, status);
  return free_fields(outputs, status);
}

PSF_API int psf_infer(penstock_client* client, const char* model, int64_t version, psf_fields* inputs,
                      psf_fields* outputs) {
  return infer(client, model, version, inputs, outputs, NULL);
}

PSF_API int psf_infer_versioned(penstock_client* client, const char* model, psf_fields* inputs,
                                psf_fields* outputs, int64_t* version) {
  return infer(client, model, 0, inputs, outputs, version);
}

typedef int (*psf_runner)(void* model, const penstock_array* inputs, int n_inputs,
                          const penstock_array* outputs, int n_outputs);

// Run what another library runs. *refused: the arrays were not such as can be given to it, and psf_error has
// the text.
PSF_API int psf_run_by(psf_runner run, void* model, psf_fields* inputs, psf_fields* outputs, int* refused) {
  int status = check_fields(inputs);
  if (!status) status = check_fields(outputs);
  *refused = status != 0;
  if (!status) {
    penstock_array from[kMaxFields], to[kMaxFields];
    for (int i = 0; i < inputs->count; i++) from[i] = inputs->of[i].array;
    for (int i = 0; i < outputs->count; i++) to[i] = outputs->of[i].array;
    status = run(model, from, inputs->count, to, outputs->count);
  }
  free_fields(inputs, status);
  return free_fields(outputs, status);
}

// Fields as .npy files, version 1.0 of NumPy's format, which numpy.load reads: a line of text that describes
// the array, padded to 64 bytes, and its elements, row-major.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

enum { kAlignment = 64, kMostHeader = 4096, kPrefix = 10 };

static const char kMagic[] = "\x93NUMPY\x01\x00";

typedef struct code {
  penstock_dtype dtype;
  const char* text;
} code;

static const code kCodes[] = {
    {PENSTOCK_FLOAT64, "<f8"},   {PENSTOCK_FLOAT32, "<f4"},     {PENSTOCK_INT64, "<i8"},
    {PENSTOCK_INT32, "<i4"},     {PENSTOCK_INT16, "<i2"},       {PENSTOCK_INT8, "|i1"},
    {PENSTOCK_UINT16, "<u2"},    {PENSTOCK_UINT8, "|u1"},       {PENSTOCK_BOOL, "|b1"},
    {PENSTOCK_FLOAT16, "<f2"},   {PENSTOCK_UINT32, "<u4"},      {PENSTOCK_UINT64, "<u8"},
    {PENSTOCK_COMPLEX64, "<c8"}, {PENSTOCK_COMPLEX128, "<c16"},
};

enum { kCount = sizeof kCodes / sizeof *kCodes };

static int say(char* why, size_t room, int status, const char* path, const char* what) {
  snprintf(why, room, "%s: %s", path, what);
  return status;
}

// ---- Writing

static const char* code_of(penstock_dtype dtype) {
  for (int i = 0; i < kCount; i++)
    if (kCodes[i].dtype == dtype) return kCodes[i].text;
  return NULL;
}

// The whole head of a file. Returns its length.
static size_t make_head(char* head, const char* dtype, const penstock_array* array) {
  char* text = head + kPrefix;
  int used = snprintf(text, kMostHeader, "{'descr': '%s', 'fortran_order': False, 'shape': (", dtype);
  for (int i = 0; i < array->rank; i++)
    used += snprintf(text + used, kMostHeader - (size_t)used, "%lld,%s", (long long)array->dims[i],
                     i + 1 < array->rank ? " " : "");
  used += snprintf(text + used, kMostHeader - (size_t)used, "), }");
  size_t length = (kPrefix + (size_t)used + 1 + kAlignment - 1) / kAlignment * kAlignment;
  memset(text + used, ' ', length - kPrefix - (size_t)used);
  head[length - 1] = '\n';
  memcpy(head, kMagic, sizeof kMagic - 1);
  head[8] = (char)((length - kPrefix) & 0xff);
  head[9] = (char)((length - kPrefix) >> 8);
  return length;
}

static int write_elements(FILE* file, const penstock_array* array) {
  size_t left = psk_nbytes(array->dtype, array->rank, array->dims);
  psk_walk walk;
  psk_walk_over(&walk, array);
  if (psk_walk_is_plain(&walk)) return fwrite(array->data, 1, left, file) == left ? 0 : -1;
  char* stage = malloc(PSK_STAGE_BYTES);
  int failed = stage ? 0 : -1;
  while (!failed && left > 0) {
    size_t piece = psk_gather(&walk, stage, left < PSK_STAGE_BYTES ? left : PSK_STAGE_BYTES);
    if (fwrite(stage, 1, piece, file) != piece) failed = -1;
    left -= piece;
  }
  free(stage);
  return failed;
}

int psk_npy_write(const char* path, const penstock_array* array, char* why, size_t room) {
  const char* dtype = code_of(array->dtype);
  if (!dtype) return say(why, room, PENSTOCK_TENSOR, path, "NumPy's files have no bfloat16");
  char head[kPrefix + kMostHeader + kAlignment];
  size_t length = make_head(head, dtype, array);
  FILE* file = fopen(path, "wb");
  if (!file) return say(why, room, PENSTOCK_SNAPSHOT, path, strerror(errno));
  int failed = fwrite(head, 1, length, file) != length || write_elements(file, array);
  int error = errno;
  if (fclose(file) && !failed) {
    failed = 1;
    error = errno;
  }
  return failed ? say(why, room, PENSTOCK_SNAPSHOT, path, strerror(error)) : 0;
}

// ---- Reading

static int parse_shape(const char* text, penstock_info* info) {
  info->rank = 0;
  text += strspn(text, " ");
  while (*text != ')') {
    char* end;
    errno = 0;
    long long dim = strtoll(text, &end, 10);
    if (end == text || errno || dim < 0 || info->rank == PENSTOCK_MAX_RANK) return -1;
    info->dims[info->rank++] = dim;
    text = end + strspn(end, ", ");
  }
  return 0;
}

static int parse_head(const char* text, penstock_info* info) {
  const char* descr = strstr(text, "'descr': '");
  const char* order = strstr(text, "'fortran_order': False");
  const char* shape = strstr(text, "'shape': (");
  if (!descr || !order || !shape) return -1;
  descr += strlen("'descr': '");
  info->dtype = (penstock_dtype)0;
  for (int i = 0; i < kCount; i++) {
    size_t length = strlen(kCodes[i].text);
    if (!strncmp(descr, kCodes[i].text, length) && descr[length] == '\'') info->dtype = kCodes[i].dtype;
  }
  if (!info->dtype || parse_shape(shape + strlen("'shape': ("), info)) return -1;
  info->nbytes = psk_nbytes(info->dtype, info->rank, info->dims);
  for (int i = 0; i < info->rank; i++)
    if (info->dims[i] == 0) return 0;
  return info->nbytes ? 0 : -1;  // more than any memory has
}

static int read_head(FILE* file, penstock_info* info) {
  unsigned char prefix[kPrefix];
  char text[kMostHeader + kAlignment + 1];
  if (fread(prefix, 1, kPrefix, file) != kPrefix || memcmp(prefix, kMagic, sizeof kMagic - 1)) return -1;
  size_t length = (size_t)prefix[8] | (size_t)prefix[9] << 8;
  if (length >= sizeof text || fread(text, 1, length, file) != length) return -1;
  text[length] = '\0';
  return parse_head(text, info);
}

// Whether the file has as many elements as its head tells of: no memory is taken by its word alone.
static int is_whole(FILE* file, const penstock_info* info) {
  struct stat about;
  long here = ftell(file);
  return here >= 0 && !fstat(fileno(file), &about) && about.st_size - here == (off_t)info->nbytes;
}

static int fits(const penstock_array* array, const penstock_info* info) {
  return array->dtype == info->dtype && array->rank == info->rank &&
         !memcmp(array->dims, info->dims, (size_t)info->rank * sizeof *info->dims);
}

// Into an array with gaps, or in another order, by way of a stage.
static int scatter(FILE* file, const penstock_array* array, size_t left) {
  char* stage = malloc(PSK_STAGE_BYTES);
  psk_walk walk;
  psk_walk_over(&walk, array);
  int failed = stage ? 0 : -1;
  while (!failed && left > 0) {
    size_t piece = left < PSK_STAGE_BYTES ? left : PSK_STAGE_BYTES;
    failed = fread(stage, 1, piece, file) != piece;
    if (!failed) psk_scatter(&walk, stage, piece);
    left -= piece;
  }
  free(stage);
  return failed;
}

static int read_elements(FILE* file, const char* path, const psk_sink* sink, const penstock_info* info,
                         char* why, size_t room) {
  int failed;
  if (sink->array) {
    failed = scatter(file, sink->array, info->nbytes);
  } else {
    void* to = sink->place(sink->context, sink->name, info);
    if (!to) return say(why, room, PENSTOCK_MEMORY, path, "no memory was given for it");
    failed = fread(to, 1, info->nbytes, file) != info->nbytes;
  }
  if (!failed) return 0;
  return say(why, room, PENSTOCK_SNAPSHOT, path, ferror(file) ? strerror(errno) : "it ends too early");
}

static int read_file(FILE* file, const char* path, const psk_sink* sink, char* why, size_t room) {
  penstock_info info = {0};
  if (read_head(file, &info)) return say(why, room, PENSTOCK_SNAPSHOT, path, "it is no file of an array");
  if (!is_whole(file, &info))
    return say(why, room, PENSTOCK_SNAPSHOT, path, "its header tells of another size than the file has");
  if (sink->info) *sink->info = info;
  if (!sink->array && !sink->place) return 0;  // only what it is
  if (sink->array && !fits(sink->array, &info))
    return say(why, room, PENSTOCK_TENSOR, path, "the array to be filled has another dtype or shape");
  return read_elements(file, path, sink, &info, why, room);
}

int psk_npy_read(const char* path, const psk_sink* sink, char* why, size_t room) {
  FILE* file = fopen(path, "rb");
  if (!file) return say(why, room, PENSTOCK_INCOMPLETE, path, strerror(errno));
  int status = read_file(file, path, sink, why, room);
  fclose(file);
  return status;
}

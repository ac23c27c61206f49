// Files of arrays: written and read again, in every dtype and order, and damaged ones.
#include <unistd.h>

#include "check.h"
#include "internal.h"

enum { kRows = 3, kColumns = 5, kMost = kRows * kColumns * 16 };

static char path[] = "/tmp/penstock-npy-XXXXXX";
static char why[512];

static void* give(void* context, const char* name, const penstock_info* info) {
  CHECK_TEXT(name, "u");
  return info->nbytes <= kMost ? context : NULL;
}

static void every_dtype_comes_back(void) {
  for (int dtype = PENSTOCK_FLOAT64; dtype <= PENSTOCK_COMPLEX128; dtype++) {
    char from[kMost], to[kMost] = {0}, turned[kMost] = {0};
    int64_t size = (int64_t)penstock_dtype_size((penstock_dtype)dtype), dims[] = {kRows, kColumns};
    int64_t strides[] = {size, kRows * size};
    for (int i = 0; i < kMost; i++) from[i] = (char)draw(256);
    penstock_array array = {from, (penstock_dtype)dtype, 2, dims, NULL};
    if (dtype == PENSTOCK_BFLOAT16) {
      CHECK(psk_npy_write(path, &array, why, sizeof why) == PENSTOCK_TENSOR);
      CHECK(strstr(why, "no bfloat16") != NULL);
      continue;
    }
    CHECK(psk_npy_write(path, &array, why, sizeof why) == 0);
    CHECK(psk_npy_read(path, &(psk_sink){.place = give, .context = to, .name = "u"}, why, sizeof why) == 0);
    CHECK(!memcmp(from, to, (size_t)(kRows * kColumns * size)));
    penstock_array columns = {turned, (penstock_dtype)dtype, 2, dims, strides};
    CHECK(psk_npy_read(path, &(psk_sink){.array = &columns, .name = "u"}, why, sizeof why) == 0);
    CHECK(psk_npy_write(path, &columns, why, sizeof why) == 0);
    memset(to, 0, sizeof to);
    CHECK(psk_npy_read(path, &(psk_sink){.place = give, .context = to, .name = "u"}, why, sizeof why) == 0);
    CHECK(!memcmp(from, to, (size_t)(kRows * kColumns * size)));
  }
}

static void an_array_of_another_shape_is_not_filled(void) {
  int32_t numbers[6] = {1, 2, 3, 4, 5, 6};
  int64_t dims[] = {2, 3}, turned[] = {3, 2};
  penstock_array array = {numbers, PENSTOCK_INT32, 2, dims, NULL};
  CHECK(psk_npy_write(path, &array, why, sizeof why) == 0);
  array.dims = turned;
  CHECK(psk_npy_read(path, &(psk_sink){.array = &array, .name = "u"}, why, sizeof why) == PENSTOCK_TENSOR);
  CHECK(strstr(why, "another dtype or shape") != NULL);
}

static void damaged_files_are_refused(void) {
  double numbers[4] = {1, 2, 3, 4};
  int64_t dims[] = {4};
  penstock_array array = {numbers, PENSTOCK_FLOAT64, 1, dims, NULL};
  CHECK(psk_npy_write(path, &array, why, sizeof why) == 0);
  char whole[512], to[kMost];
  FILE* file = fopen(path, "rb");
  size_t length = fread(whole, 1, sizeof whole, file);
  fclose(file);
  CHECK(length == 128 + sizeof numbers || length == 64 + sizeof numbers);
  psk_sink sink = {.place = give, .context = to, .name = "u"};
  for (size_t cut = 0; cut < length; cut++) {
    CHECK((file = fopen(path, "wb")) != NULL);
    fwrite(whole, 1, cut, file);
    fclose(file);
    CHECK(psk_npy_read(path, &sink, why, sizeof why) == PENSTOCK_SNAPSHOT);
  }
  for (int round = 0; round < 2000; round++) {  // whatever a byte becomes, nothing is read or written beyond
    char changed[sizeof whole];
    memcpy(changed, whole, length);
    for (int i = 0; i < 3; i++) changed[draw((unsigned)length)] = (char)draw(256);
    CHECK((file = fopen(path, "wb")) != NULL);
    fwrite(changed, 1, length, file);
    fclose(file);
    int status = psk_npy_read(path, &sink, why, sizeof why);
    CHECK(status == 0 || status == PENSTOCK_SNAPSHOT || status == PENSTOCK_MEMORY);
  }
  CHECK(psk_npy_read("/there/is/none.npy", &sink, why, sizeof why) == PENSTOCK_INCOMPLETE);
  CHECK_TEXT(why, "/there/is/none.npy: No such file or directory");
  CHECK(psk_npy_write("/there/is/none.npy", &array, why, sizeof why) == PENSTOCK_SNAPSHOT);
  CHECK_TEXT(why, "/there/is/none.npy: No such file or directory");
  CHECK(psk_npy_write("/dev/full", &array, why, sizeof why) == PENSTOCK_SNAPSHOT);
  CHECK_TEXT(why, "/dev/full: No space left on device");
}

// No place is asked for before the size that a header tells of was compared with the file's.
static void* give_none(void* context, const char* name, const penstock_info* info) {
  (void)name, (void)info;
  *(int*)context = 1;
  return NULL;
}

static void a_header_that_tells_of_another_size_is_refused(void) {
  static const char* const kShapes[] = {"(999999999999,)", "(0,)", "(2,)", "(9223372036854775807, 8)"};
  for (int i = 0; i < 4; i++) {
    char text[128], head[] = "\x93NUMPY\x01\x00";
    int asked = 0;
    FILE* file = fopen(path, "wb");
    int length =
        snprintf(text, sizeof text, "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }\n", kShapes[i]);
    fwrite(head, 1, 8, file);
    fputc(length, file);
    fputc(0, file);
    fwrite(text, 1, (size_t)length, file);
    fwrite("12345678", 1, 8, file);
    fclose(file);
    psk_sink sink = {.place = give_none, .context = &asked, .name = "u"};
    CHECK(psk_npy_read(path, &sink, why, sizeof why) == PENSTOCK_SNAPSHOT);
    CHECK(!asked);
  }
}

static void what_it_is_is_told_without_a_place(void) {
  float numbers[6] = {0};
  int64_t dims[] = {2, 3};
  penstock_array array = {numbers, PENSTOCK_FLOAT32, 2, dims, NULL};
  penstock_info info = {0};
  CHECK(psk_npy_write(path, &array, why, sizeof why) == 0);
  CHECK(psk_npy_read(path, &(psk_sink){.name = "u", .info = &info}, why, sizeof why) == 0);
  CHECK(info.dtype == PENSTOCK_FLOAT32 && info.rank == 2 && info.dims[1] == 3 && info.nbytes == 24);
}

int main(void) {
  int descriptor = mkstemp(path);
  CHECK(descriptor >= 0);
  close(descriptor);
  every_dtype_comes_back();
  an_array_of_another_shape_is_not_filled();
  damaged_files_are_refused();
  a_header_that_tells_of_another_size_is_refused();
  what_it_is_is_told_without_a_place();
  unlink(path);
  return report();
}

// Every call of penstock.h against a real database, for the sanitizers. Says what failed and where.
#include <math.h>
#include <penstock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static penstock_client* client;

static void demand(int good, const char* what, int line) {
  if (good) return;
  fprintf(stderr, "line %d: %s: %s\n", line, what, penstock_error(client));
  exit(1);
}

#define OK(call) demand((call) == PENSTOCK_OK, #call, __LINE__)
#define FAILS(call, status) demand((call) == (status), #call, __LINE__)
#define TRUE(condition) demand((condition) != 0, #condition, __LINE__)

enum { kRows = 300, kColumns = 500 };

static double u[kRows][kColumns], back[kRows][kColumns];
static const int64_t kShape[] = {kRows, kColumns}, kTurned[] = {kColumns, kRows};
static const int64_t kColumnMajor[] = {sizeof(double), kColumns * sizeof(double)};

static void* place(void* context, const char* name, const penstock_info* info) {
  (void)context;
  return strcmp(name, "u") || info->nbytes != sizeof back ? NULL : back;
}

static void tensors(void) {
  penstock_array out = {u, PENSTOCK_FLOAT64, 2, kShape, NULL}, in = {back, PENSTOCK_FLOAT64, 2, kShape, NULL};
  OK(penstock_put_tensor(client, "t", &out));
  OK(penstock_get_tensor(client, "t", &in));
  TRUE(!memcmp(u, back, sizeof u));
  penstock_array turned = {u, PENSTOCK_FLOAT64, 2, kTurned, kColumnMajor};
  penstock_array turned_back = {back, PENSTOCK_FLOAT64, 2, kTurned, kColumnMajor};
  memset(back, 0, sizeof back);
  OK(penstock_put_tensor(client, "turned", &turned));
  OK(penstock_get_tensor(client, "turned", &turned_back));
  TRUE(!memcmp(u, back, sizeof u));
  FAILS(penstock_get_tensor(client, "turned", &in), PENSTOCK_TENSOR);
  FAILS(penstock_get_tensor(client, "none", &in), PENSTOCK_KEY_MISSING);
  FAILS(penstock_put_tensor(client, "a b", &out), PENSTOCK_NAME);
  penstock_info info;
  void* data;
  int exists;
  OK(penstock_tensor_info(client, "turned", &info));
  TRUE(info.rank == 2 && info.dims[0] == kColumns && info.dtype == PENSTOCK_FLOAT64 &&
       info.nbytes == sizeof u);
  OK(penstock_get_tensor_new(client, "t", &info, &data));
  TRUE(!memcmp(u, data, sizeof u));
  penstock_free(data);
  OK(penstock_delete_tensor(client, "t"));
  OK(penstock_tensor_exists(client, "t", &exists));
  TRUE(!exists);
}

static int meter_fields;

static void count_field(void* context, const char* name, const char* value) {
  TRUE(context == &meter_fields && *name && value);
  meter_fields++;
}

static void put_step(int64_t step, int status, penstock_outcome outcome) {
  double small[2][3] = {{(double)step}};
  int64_t shape[] = {3, 2}, strides[] = {sizeof(double), 3 * sizeof(double)};
  penstock_field fields[] = {{"u", {small, PENSTOCK_FLOAT64, 2, shape, strides}}};
  FAILS(penstock_put_snapshot(client, "bounded", step, (double)step, fields, 1), status);
  if (!status) TRUE(penstock_last_outcome(client) == outcome);
}

static void* place_small(void* context, const char* name, const penstock_info* info) {
  TRUE(!strcmp(name, "u") && info->nbytes == 6 * sizeof(double));
  return context;
}

static void bounds(const char* directory) {
  penstock_bound none = {0}, three = {.items = 3, .wait = 0.02}, four = {.items = 4};
  penstock_bound spill = {.items = 1, .policy = PENSTOCK_SPILL, .directory = directory};
  FAILS(penstock_bound_stream(client, "bounded", NULL), PENSTOCK_INVALID);
  FAILS(penstock_bound_stream(client, "bounded", &none), PENSTOCK_REFUSED);
  FAILS(penstock_bound_stream(client, "b s", &three), PENSTOCK_NAME);
  OK(penstock_bound_stream(client, "bounded", &three));
  FAILS(penstock_bound_stream(client, "bounded", &four), PENSTOCK_REFUSED);
  int64_t position = -1;
  OK(penstock_subscribe(client, "bounded", "reader", &position));
  TRUE(position == 0);
  for (int64_t step = 0; step < 3; step++) put_step(step, PENSTOCK_OK, PENSTOCK_STORED);
  put_step(3, PENSTOCK_STREAM_FULL, PENSTOCK_STORED);
  TRUE(strstr(penstock_error(client), "'reader' has acknowledged 0 of 3"));
  penstock_fill fill;
  OK(penstock_stream_fill(client, "bounded", &fill));
  TRUE(fill.items == 3 && fill.level >= 1.0 && fill.acknowledged == 0 && fill.announced == 3);
  FAILS(penstock_acknowledge(client, "bounded", "reader", 9), PENSTOCK_REFUSED);
  OK(penstock_acknowledge(client, "bounded", "reader", 2));
  put_step(3, PENSTOCK_OK, PENSTOCK_STORED);
  penstock_snapshot snapshot;
  double small[6];
  FAILS(penstock_get_snapshot(client, "bounded", 0, place_small, small, &snapshot), PENSTOCK_DROPPED);
  OK(penstock_get_snapshot(client, "bounded", 3, place_small, small, &snapshot));
  TRUE(snapshot.step == 3 && small[0] == 3.0);
  OK(penstock_stream_meter(client, "bounded", count_field, &meter_fields));
  TRUE(meter_fields > 15);
  OK(penstock_unsubscribe(client, "bounded", "reader"));
  FAILS(penstock_unsubscribe(client, "bounded", "reader"), PENSTOCK_REFUSED);
  penstock_field fields[] = {{"u", {u, PENSTOCK_FLOAT64, 2, kShape, NULL}}};
  OK(penstock_bound_stream(client, "spilled", &spill));
  for (int64_t step = 0; step < 3; step++) {
    OK(penstock_put_snapshot(client, "spilled", step, NAN, fields, 1));
    TRUE(penstock_last_outcome(client) == (step ? PENSTOCK_SPILLED : PENSTOCK_STORED));
  }
  memset(back, 0, sizeof back);
  OK(penstock_get_snapshot(client, "spilled", 2, place, NULL, &snapshot));
  TRUE(snapshot.step == 2 && !memcmp(u, back, sizeof u));
  OK(penstock_subscribe(client, "spilled", "reader", NULL));
  OK(penstock_acknowledge(client, "spilled", "reader", 3));
  FAILS(penstock_get_snapshot(client, "spilled", 2, place, NULL, &snapshot), PENSTOCK_DROPPED);
}

static void snapshots(void) {
  penstock_field fields[] = {{"u", {u, PENSTOCK_FLOAT64, 2, kShape, NULL}}};
  penstock_field odd[] = {{"v", {u, PENSTOCK_FLOAT64, 2, kShape, NULL}}};
  int64_t count;
  OK(penstock_set_queue(client, 3 * sizeof u));
  for (int step = 0; step < 40; step++) {
    u[0][0] = step;
    OK(penstock_put_snapshot_async(client, "stream", step, step % 2 ? NAN : 0.5 * step, fields, 1));
  }
  OK(penstock_put_tensor_async(client, "later", &fields[0].array));
  OK(penstock_flush(client, 60));
  OK(penstock_put_snapshot(client, "stream", 40, NAN, fields, 1));
  FAILS(penstock_put_snapshot(client, "stream", 40, NAN, fields, 1), PENSTOCK_SNAPSHOT);
  FAILS(penstock_put_snapshot(client, "stream", 41, NAN, odd, 1), PENSTOCK_SNAPSHOT);
  OK(penstock_announced(client, "stream", &count));
  TRUE(count == 41);
  penstock_snapshot found;
  OK(penstock_get_snapshot(client, "stream", 6, place, NULL, &found));
  TRUE(found.step == 6 && found.has_time && found.time == 3 && back[0][0] == 6);
  OK(penstock_get_snapshot(client, "stream", 7, place, NULL, &found));
  TRUE(found.step == 7 && !found.has_time && !strcmp(found.producer, penstock_producer(client)));
  FAILS(penstock_get_snapshot(client, "stream", 41, place, NULL, &found), PENSTOCK_KEY_MISSING);
  int ended;
  OK(penstock_end_stream(client, "stream"));
  OK(penstock_stream_ended(client, "stream", penstock_producer(client), penstock_rank(client), &ended));
  TRUE(ended);
}

static void datasets(void) {
  penstock_dataset* dataset;
  penstock_array out = {u, PENSTOCK_FLOAT64, 2, kShape, NULL}, in;
  double number = 2.5;
  OK(penstock_dataset_new(client, "run", &dataset));
  OK(penstock_dataset_add_tensor(dataset, "u", &out));
  FAILS(penstock_dataset_add_tensor(dataset, "u", &out), PENSTOCK_INVALID);
  OK(penstock_dataset_add_scalar(dataset, "n", PENSTOCK_FLOAT64, &number));
  FAILS(penstock_dataset_add_string(dataset, "n", "text"), PENSTOCK_INVALID);
  OK(penstock_dataset_add_string(dataset, "who", "me"));
  OK(penstock_put_dataset(client, dataset));
  penstock_dataset_free(dataset);
  OK(penstock_get_dataset(client, "run", &dataset));
  TRUE(penstock_dataset_tensors(dataset) == 1 && !strcmp(penstock_dataset_tensor_name(dataset, 0), "u"));
  OK(penstock_dataset_get_tensor(dataset, "u", &in));
  TRUE(!memcmp(in.data, u, sizeof u));
  penstock_dtype dtype;
  const void* values;
  int count, exists;
  OK(penstock_dataset_get_scalars(dataset, "n", &dtype, &values, &count));
  TRUE(count == 1 && *(const double*)values == number);
  TRUE(!strcmp(penstock_dataset_get_string(dataset, "who", 0), "me"));
  TRUE(!penstock_dataset_get_string(dataset, "who", 1) && !penstock_dataset_get_string(dataset, "n", 0));
  penstock_dataset_free(dataset);
  FAILS(penstock_get_dataset(client, "none", &dataset), PENSTOCK_KEY_MISSING);
  OK(penstock_dataset_exists(client, "run", &exists));
  TRUE(exists);
  int64_t length;
  OK(penstock_append_to_list(client, "list", "run"));
  OK(penstock_list_length(client, "list", &length));
  TRUE(length == 1);
}

static void waits_and_flags(void) {
  int raised;
  FAILS(penstock_wait_flag(client, "never", 0.02), PENSTOCK_TIMED_OUT);
  FAILS(penstock_wait_model(client, "never", 0, 0.02, NULL), PENSTOCK_TIMED_OUT);
  OK(penstock_request_stop(client));
  OK(penstock_stop_requested(client, &raised));
  TRUE(raised);
  OK(penstock_wait_flag(client, "stop", 0));
  OK(penstock_wait_list(client, "stream", 41, 0, NULL));
  OK(penstock_wait_dataset(client, "run", 0));
  OK(penstock_wait_tensor(client, "later", 0));
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;  // the argument: a directory to spill to
  if (penstock_connect(NULL, 0, &client)) {
    fprintf(stderr, "%s\n", penstock_error(NULL));
    return 1;
  }
  for (int i = 0; i < kRows; i++)
    for (int j = 0; j < kColumns; j++) u[i][j] = i + 1e-3 * j;
  tensors();
  snapshots();
  bounds(argv[1]);
  datasets();
  waits_and_flags();
  penstock_close(client);
  return 0;
}

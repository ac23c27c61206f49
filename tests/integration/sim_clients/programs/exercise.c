// Every call of penstock.h against a real database, for the sanitizers. Says what failed and where.
#include <math.h>
#include <penstock.h>
#include <pthread.h>
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

static void spilled_without_a_place(void) {
  penstock_snapshot snapshot;
  OK(penstock_snapshot_info(client, "spilled", 1, &snapshot));
  TRUE(snapshot.count == 1 && snapshot.fields[0].info.nbytes == sizeof u && snapshot.step == 1);
  TRUE(penstock_last_outcome(client) == PENSTOCK_SPILLED);
  penstock_view* view;
  OK(penstock_map_snapshot(client, "spilled", 1, &snapshot, &view));
  penstock_array array = penstock_view_array(view, 0);
  TRUE(!penstock_view_is_shared(view, 0) && !memcmp(u, array.data, sizeof u));
  penstock_unmap(view);
  penstock_field turned[] = {{"u", {back, PENSTOCK_FLOAT64, 2, kTurned, NULL}}};
  FAILS(penstock_get_snapshot_fields(client, "spilled", 1, turned, 1, NULL), PENSTOCK_TENSOR);
}

static void bounds(const char* directory) {
  penstock_bound none = {0}, three = {.items = 3, .wait = 0.02}, four = {.items = 4};
  penstock_bound spill = {.items = 1, .policy = PENSTOCK_SPILL, .directory = directory};
  FAILS(penstock_bound_stream(client, "bounded", NULL), PENSTOCK_INVALID);
  FAILS(penstock_bound_stream(client, "bounded", &none), PENSTOCK_REFUSED);
  FAILS(penstock_bound_stream(client, "b s", &three), PENSTOCK_NAME);
  penstock_bound endless = {.items = 3, .wait = INFINITY};
  FAILS(penstock_bound_stream(client, "bounded", &endless), PENSTOCK_INVALID);
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
  spilled_without_a_place();
  OK(penstock_subscribe(client, "spilled", "reader", NULL));
  OK(penstock_acknowledge(client, "spilled", "reader", 3));
  FAILS(penstock_get_snapshot(client, "spilled", 2, place, NULL, &snapshot), PENSTOCK_DROPPED);
  OK(penstock_put_snapshot(client, "spilled", 3, NAN, fields, 1));
  OK(penstock_put_snapshot(client, "spilled", 4, NAN, fields, 1));
  TRUE(penstock_last_outcome(client) == PENSTOCK_SPILLED);
  OK(penstock_forget_stream(client, "spilled"));
  OK(penstock_stream_fill(client, "spilled", &fill));
  TRUE(fill.announced == 0 && fill.spilled == 0 && fill.acknowledged == -1);
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

// Somebody takes the key of a stream between two snapshots.
static void refused(void) {
  penstock_field field[] = {{"u", {u, PENSTOCK_FLOAT64, 2, kShape, NULL}}};
  penstock_client* other;
  OK(penstock_connect(NULL, 0, &other));
  OK(penstock_put_snapshot(client, "taken", 1000, NAN, field, 1));
  OK(penstock_forget_stream(other, "taken"));
  OK(penstock_put_tensor(other, "taken", &field[0].array));
  FAILS(penstock_put_snapshot(client, "taken", 1001, NAN, field, 1), PENSTOCK_REFUSED);
  TRUE(strstr(penstock_error(client), "WRONGTYPE") != NULL);
  OK(penstock_delete_tensor(other, "taken"));
  penstock_close(other);
  OK(penstock_put_snapshot(client, "taken", 1002, NAN, field, 1));
}

static void fields(void) {
  static const char* kNames[] = {"y", "x"};
  static const char* kTwice[] = {"y", "y"};
  const int64_t whole[] = {2 * kRows, kColumns}, start[] = {kRows, 0}, beyond[] = {kRows + 1, 0};
  penstock_about about = {"K", 2, kNames, whole, start};
  penstock_field one[] = {{"u", {u, PENSTOCK_FLOAT64, 2, kShape, NULL}}};
  penstock_field two[] = {{"v", {u, PENSTOCK_FLOAT64, 2, kShape, NULL}}, one[0]};
  penstock_field into[] = {{"u", {back, PENSTOCK_FLOAT64, 2, kShape, NULL}}};
  const char *contract, *const *names;
  penstock_snapshot found;
  int64_t count;
  OK(penstock_contract(client, "blocks", &contract));
  TRUE(!contract);
  FAILS(penstock_describe_field(client, "blocks", "u", &(penstock_about){.units = "K, Pa"}), PENSTOCK_TENSOR);
  FAILS(penstock_describe_field(client, "blocks", "u", &(penstock_about){NULL, 2, kTwice, NULL, NULL}),
        PENSTOCK_TENSOR);
  FAILS(penstock_describe_field(client, "blocks", "u", &(penstock_about){NULL, 2, NULL, whole, NULL}),
        PENSTOCK_TENSOR);
  FAILS(penstock_describe_field(client, "blocks", "u", &(penstock_about){NULL, 2, NULL, beyond, start}),
        PENSTOCK_TENSOR);
  FAILS(penstock_describe_field(client, "blocks", "meta", &about), PENSTOCK_NAME);
  OK(penstock_describe_field(client, "blocks", "u", &(penstock_about){NULL, 2, NULL, whole, beyond}));
  FAILS(penstock_put_snapshot(client, "blocks", 0, NAN, one, 1), PENSTOCK_TENSOR);
  TRUE(strstr(penstock_error(client), "the block (300, 500) at (301, 0) does not lie within") != NULL);
  OK(penstock_describe_field(client, "blocks", "u", &about));
  u[0][0] = 0.25;
  OK(penstock_put_snapshot(client, "blocks", 0, 0.5, one, 1));
  OK(penstock_put_snapshot_async(client, "blocks", 1, NAN, one, 1));
  OK(penstock_flush(client, 60));
  FAILS(penstock_put_snapshot(client, "blocks", 2, NAN, two, 2), PENSTOCK_SNAPSHOT);
  TRUE(strstr(penstock_error(client), "'v' is new, float64 (300, 500); the stream 'blocks' has u since") !=
       NULL);
  OK(penstock_contract(client, "blocks", &contract));
  TRUE(strstr(contract, "\nu: float64 (600, 500) in blocks, K, dims y x") != NULL);
  OK(penstock_describe_field(client, "blocks", "u", NULL));
  FAILS(penstock_put_snapshot(client, "blocks", 2, NAN, one, 1), PENSTOCK_SNAPSHOT);
  OK(penstock_snapshot_info(client, "blocks", 0, &found));
  TRUE(found.count == 1 && found.fields[0].info.nbytes == sizeof u &&
       !strcmp(found.fields[0].about.dims[1], "x"));
  for (int64_t i = 0; i < 2; i++) {
    memset(back, 0, sizeof back);
    OK(penstock_get_snapshot_fields(client, "blocks", i, into, 1, &found));
    TRUE(!memcmp(u, back, sizeof u) && found.fields[0].about.offset[0] == kRows);
  }
  FAILS(penstock_get_snapshot_fields(client, "blocks", 0, two, 2, NULL), PENSTOCK_SNAPSHOT);
  FAILS(penstock_get_snapshot_fields(client, "blocks", 0, into, 0, NULL), PENSTOCK_INVALID);
  FAILS(penstock_get_snapshot_fields(client, "blocks", 2, into, 1, NULL), PENSTOCK_KEY_MISSING);
  OK(penstock_snapshot_names(client, "blocks", 0, &names, &count));
  TRUE(count == 2 && strstr(names[1], ".0.1") != NULL);
  OK(penstock_forget_stream(client, "blocks"));
  OK(penstock_snapshot_names(client, "blocks", 0, &names, &count));
  TRUE(count == 0);
  OK(penstock_put_snapshot(client, "blocks", 0, NAN, two, 2));
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

static void* end_view(void* view) {
  penstock_unmap(view);
  return NULL;
}

// Views: computed in, put and read where they lie, and ended on another thread and after their client.
static void views(void) {
  penstock_view *made, *seen, *fields, *late;
  penstock_snapshot about;
  int64_t none[] = {0};
  pthread_t thread;
  penstock_array out = {u, PENSTOCK_FLOAT64, 2, kShape, NULL};
  OK(penstock_put_tensor(client, "t", &out));
  FAILS(penstock_lease(client, (penstock_dtype)99, 2, kShape, &made), PENSTOCK_TENSOR);
  FAILS(penstock_lease(client, PENSTOCK_FLOAT64, 1, none, &made), PENSTOCK_TENSOR);
  FAILS(penstock_lease(client, PENSTOCK_FLOAT64, 2, kShape, NULL), PENSTOCK_INVALID);
  FAILS(penstock_map_tensor(client, "t", NULL), PENSTOCK_INVALID);
  FAILS(penstock_map_tensor(client, "none", &seen), PENSTOCK_KEY_MISSING);
  FAILS(penstock_map_snapshot(client, "none", 0, &about, &fields), PENSTOCK_KEY_MISSING);
  for (int step = 0; step < 3; step++) {
    OK(penstock_lease(client, PENSTOCK_FLOAT64, 2, kShape, &made));
    penstock_array room = penstock_view_array(made, 0);
    memcpy(room.data, u, sizeof u);
    penstock_field field[] = {{"w", room}};
    OK(penstock_put_snapshot(client, "viewed", step, 0.5, field, 1));
    OK(penstock_map_snapshot(client, "viewed", step, &about, &fields));
    TRUE(about.step == step && penstock_view_count(fields) == 1);
    TRUE((strcmp(penstock_view_name(fields, 0), "w")) == 0);
    TRUE((memcmp(penstock_view_array(fields, 0).data, u, sizeof u)) == 0);
    TRUE(penstock_view_is_shared(fields, 0) == penstock_view_is_shared(made, 0));
    TRUE(penstock_view_name(fields, 1) == NULL && penstock_view_array(fields, -1).data == NULL);
    TRUE((pthread_create(&thread, NULL, end_view, fields)) == 0);
    penstock_unmap(made);
    OK(penstock_map_tensor(client, "t", &seen));
    pthread_join(thread, NULL);
    penstock_unmap(seen);
  }
  penstock_unmap(NULL);
  OK(penstock_map_tensor(client, "t", &late));
  OK(penstock_lease(client, PENSTOCK_FLOAT64, 2, kShape, &made));
  penstock_close(client);
  TRUE((memcmp(penstock_view_array(late, 0).data, u, sizeof u)) == 0);
  TRUE((pthread_create(&thread, NULL, end_view, late)) == 0);
  penstock_unmap(made);
  pthread_join(thread, NULL);
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
  refused();
  bounds(argv[1]);
  fields();
  datasets();
  waits_and_flags();
  views();
  return 0;
}

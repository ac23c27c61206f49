// Does with the database what a solver does, and checks what it gets. test_solvers.py says what it must find
// there and looks at what it leaves. Argument: a TorchScript file that doubles its input.

#include <math.h>
#include <penstock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NX = 3, NY = 4 };

static const int64_t kDims[] = {NX, NY};
static penstock_client* client;

static void expect(int true_, const char* what) {
  if (true_) return;
  fprintf(stderr, "not as expected: %s: %s\n", what, penstock_error(client));
  exit(1);
}

static void done(int status, const char* what) { expect(status == PENSTOCK_OK, what); }

// The status that an error must have, and a word that its text must have.
static void refused(int status, penstock_status by, const char* word) {
  expect(status == (int)by && strstr(penstock_error(client), word), word);
}

static double pattern(int i, int j) { return 10.0 * i + j; }

// SmartRedis has put "plain.<dtype>"; each comes back as "own.<dtype>".
static void every_type(void) {
  for (penstock_dtype dtype = PENSTOCK_FLOAT64; dtype <= PENSTOCK_UINT8; dtype++) {
    char name[40];
    penstock_info info;
    void* data;
    snprintf(name, sizeof name, "plain.%s", penstock_dtype_name(dtype));
    done(penstock_get_tensor_new(client, name, &info, &data), name);
    expect(info.dtype == dtype && info.rank == 2 && info.dims[0] == NX && info.dims[1] == NY, name);
    snprintf(name, sizeof name, "own.%s", penstock_dtype_name(dtype));
    done(penstock_put_tensor(client, name, &(penstock_array){data, dtype, 2, info.dims, NULL}), name);
    penstock_free(data);
  }
  double u[NX][NY];
  done(penstock_get_tensor(client, "plain.float64", &(penstock_array){u, PENSTOCK_FLOAT64, 2, kDims, NULL}),
       "get");
  for (int i = 0; i < NX; i++)
    for (int j = 0; j < NY; j++) expect(u[i][j] == pattern(i, j), "values");
}

static void sections(void) {
  double u[6][8], back[3][3];
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 8; j++) u[i][j] = 100 * (i + 1) + j + 1;
  const int64_t dims[] = {3, 3};
  const int64_t strides[] = {2 * (int64_t)sizeof u[0], -3 * (int64_t)sizeof(double)};
  done(
      penstock_put_tensor(client, "section", &(penstock_array){&u[1][7], PENSTOCK_FLOAT64, 2, dims, strides}),
      "put");
  done(penstock_get_tensor(client, "section", &(penstock_array){back, PENSTOCK_FLOAT64, 2, dims, NULL}),
       "get");
  expect(back[0][0] == 208 && back[0][1] == 205 && back[2][2] == 602, "section");
}

static void snapshots(void) {
  double u[NX][NY];
  float p[NX][NY];
  const penstock_field fields[] = {{"u", {u, PENSTOCK_FLOAT64, 2, kDims, NULL}},
                                   {"p", {p, PENSTOCK_FLOAT32, 2, kDims, NULL}}};
  for (int step = 0; step <= 20; step += 10) {
    for (int i = 0; i < NX; i++)
      for (int j = 0; j < NY; j++) {
        u[i][j] = pattern(i, j) + step;
        p[i][j] = (float)pattern(i, j);
      }
    done(step < 20 ? penstock_put_snapshot(client, "snapshots", step, 0.5 * step, fields, 2)
                   : penstock_put_snapshot_async(client, "snapshots", step, 0.5 * step, fields, 2),
         "put snapshot");
    memset(u, 0, sizeof u);
  }
  done(penstock_flush(client, 10), "flush");
  refused(penstock_put_snapshot(client, "snapshots", 20, 0, fields, 2), PENSTOCK_SNAPSHOT, "20");
  int64_t count;
  done(penstock_announced(client, "snapshots", &count), "count");
  expect(count == 3, "three snapshots");
  done(penstock_end_stream(client, "snapshots"), "end");
}

static void* room_for(void* context, const char* name, const penstock_info* info) {
  (void)name;
  return info->nbytes <= 1 << 16 ? context : NULL;
}

static void models(const char* path) {
  FILE* file = fopen(path, "rb");
  expect(file != NULL, path);
  char model[1 << 16];
  size_t size = fread(model, 1, sizeof model, file);
  fclose(file);
  float x[] = {1, 2, 3}, y[3];
  const int64_t dims[] = {3};
  const penstock_array input = {x, PENSTOCK_FLOAT32, 1, dims, NULL};
  const penstock_array output = {y, PENSTOCK_FLOAT32, 1, dims, NULL};
  refused(penstock_infer(client, "twice", 0, &input, 1, &output, 1), PENSTOCK_MODEL_MISSING, "twice");
  done(penstock_put_model(client, "twice", model, size, 1, NULL), "put model");
  int64_t version;
  done(penstock_post_model(client, "twice", model, size, 2, NULL, "{\"loss\": 0.5, \"steps\": 40}", 0),
       "post a version that is only stored");
  done(penstock_infer_versioned(client, "twice", &input, 1, &output, 1, &version), "infer");
  expect(version == 1 && y[2] == 6, "the version that has answered");
  done(penstock_promote_model(client, "twice", 2), "promote model");
  done(penstock_infer_versioned(client, "twice", &input, 1, &output, 1, &version), "infer");
  expect(version == 2, "the next version");
  done(penstock_report_error(client, "twice", NAN, version), "report that it has blown up");
  done(penstock_promote_model(client, "twice", 1), "go back");
  done(penstock_report_error(client, "twice", 0.25, 1), "report an error");
  refused(penstock_infer_versioned(client, "none", &input, 1, &output, 1, &version), PENSTOCK_MODEL_MISSING,
          "none");
  done(penstock_wait_model(client, "twice", 0, 10, &version), "wait for a model");
  expect(version == 1, "version");
  static char archive[1 << 16];
  done(penstock_get_model(client, "twice", 0, room_for, archive), "get model");
  expect(!memcmp(archive, model, size), "its archive");
  refused(penstock_get_model(client, "twice", 3, room_for, archive), PENSTOCK_MODEL_MISSING, "version 3");
  done(penstock_infer(client, "twice", version, &input, 1, &output, 1), "infer");
  expect(y[0] == 2 && y[1] == 4 && y[2] == 6, "the model's answer");
}

static void flags_and_errors(void) {
  int raised;
  done(penstock_raise_flag(client, "c.ready"), "raise");
  done(penstock_wait_flag(client, "c.ready", 10), "wait for a flag");
  done(penstock_flag_raised(client, "c.ready", &raised), "look");
  expect(raised, "the flag");
  refused(penstock_wait_tensor(client, "never", 0.02), PENSTOCK_TIMED_OUT, "never");
  double u[NY];
  const int64_t dims[] = {NY};
  const penstock_array small = {u, PENSTOCK_FLOAT64, 1, dims, NULL};
  refused(penstock_get_tensor(client, "gone", &small), PENSTOCK_KEY_MISSING, "gone");
  refused(penstock_get_tensor(client, "plain.float64", &small), PENSTOCK_TENSOR, "(3, 4)");
  refused(penstock_put_tensor(client, "not a name", &small), PENSTOCK_NAME, "not a name");
  done(penstock_request_stop(client), "request");
  done(penstock_stop_requested(client, &raised), "look for it");
  expect(raised, "a requested stop");
}

int main(int argc, char** argv) {
  expect(argc == 2, "one argument");
  refused(penstock_connect("unix:///there/is/none", 0.05, &client), PENSTOCK_UNAVAILABLE, "/there/is/none");
  done(penstock_connect(NULL, 0, &client), "connect");
  done(penstock_set_identity(client, "solver_c", 2), "identity");
  every_type();
  sections();
  snapshots();
  models(argv[1]);
  flags_and_errors();
  penstock_close(client);
  puts("everything was as it must be");
}

// A model in this process beside the same one in the database: posts two files as versions 1 and 2 of "net",
// which map float32 (rows, 4) to the same shape, and looks at what comes back. Arguments: the two files.

#include <math.h>
#include <penstock_torch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static penstock_client* client;
static char archive[1 << 16];

static void expect(int truth, const char* what) {
  if (truth) return;
  fprintf(stderr, "%s: %s\n", what, penstock_error(client));
  exit(1);
}

static void says(int status, int wanted, const penstock_local_model* model, const char* part) {
  const char* text = penstock_local_error(model);
  if (status == wanted && strstr(text, part) && !strchr(text, '\n')) return;
  fprintf(stderr, "status %d, wanted %d with '%s': %s\n", status, wanted, part, text);
  exit(1);
}

static void post(const char* path, int64_t version) {
  FILE* file = fopen(path, "rb");
  expect(file != NULL, path);
  size_t size = fread(archive, 1, sizeof archive, file);
  fclose(file);
  expect(!penstock_put_model(client, "net", archive, size, version, NULL), "put model");
}

// The same numbers, bit by bit, of plain memory and of columns in reverse.
static void compare(penstock_local_model* model, int64_t rows) {
  float x[256], here[256], there[256];
  for (int i = 0; i < 256; i++) x[i] = (float)sin(i);
  const int64_t dims[] = {rows, 4}, wide[] = {32, -4};
  const penstock_array inputs[] = {{x, PENSTOCK_FLOAT32, 2, dims, NULL},
                                   {x + 3, PENSTOCK_FLOAT32, 2, dims, wide}};
  for (int i = 0; i < 2; i++) {
    const penstock_array mine = {here, PENSTOCK_FLOAT32, 2, dims, NULL},
                         other = {there, PENSTOCK_FLOAT32, 2, dims, NULL};
    says(penstock_local_run(model, &inputs[i], 1, &mine, 1), 0, model, "");
    expect(!penstock_infer(client, "net", 0, &inputs[i], 1, &other, 1), "infer");
    expect(!memcmp(here, there, (size_t)rows * 4 * sizeof *here), "the numbers of the database");
  }
  float turned[32], again[32];
  const int64_t eight[] = {8, 4}, columns[] = {4, 32};
  const penstock_array input = {x, PENSTOCK_FLOAT32, 2, eight, NULL},
                       plain = {again, PENSTOCK_FLOAT32, 2, eight, NULL},
                       column_major = {turned, PENSTOCK_FLOAT32, 2, eight, columns};
  says(penstock_local_run(model, &input, 1, &plain, 1), 0, model, "");
  says(penstock_local_run(model, &input, 1, &column_major, 1), 0, model, "");
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 4; j++) expect(turned[j * 8 + i] == again[i * 4 + j], "an array in columns");
}

static void errors(penstock_local_model* model) {
  float x[12] = {0}, y[12];
  const int64_t dims[] = {3, 4}, other[] = {4, 3};
  const penstock_array right = {x, PENSTOCK_FLOAT32, 2, dims, NULL},
                       wrong = {x, PENSTOCK_FLOAT32, 2, other, NULL},
                       output = {y, PENSTOCK_FLOAT32, 2, dims, NULL},
                       odd = {y, PENSTOCK_FLOAT32, 2, other, NULL}, outputs[] = {output, output},
                       half = {x, PENSTOCK_FLOAT16, 2, dims, NULL};
  says(penstock_local_run(model, &wrong, 1, &output, 1), PENSTOCK_INFERENCE, model,
       "inference with the model 'net@2' failed: mat1 and mat2 shapes cannot be multiplied (4x3 and 4x64); "
       "given was float32 (4, 3)");
  says(penstock_local_run(model, &right, 1, &odd, 1), PENSTOCK_TENSOR, model,
       "output 0: the model puts out float32 (3, 4), the array to be filled is float32 (4, 3)");
  says(penstock_local_run(model, &right, 1, outputs, 2), PENSTOCK_INFERENCE, model, "it has 1 outputs");
  says(penstock_local_run(model, &half, 1, &output, 1), PENSTOCK_TENSOR, model, "dtype");
  says(penstock_local_run(model, &right, 0, &output, 1), PENSTOCK_TENSOR, model, "at least one input");
  says(penstock_local_run(model, &right, 1, &output, 0), PENSTOCK_TENSOR, model, "at least one output");
  says(penstock_local_run(model, &right, 1, &output, 1), 0, model, "");
}

int main(int argc, char** argv) {
  expect(argc == 3, "two files");
  expect(!penstock_connect(NULL, 0, &client), "connect");
  penstock_local_model* model;
  says(penstock_local_open(client, "net", 0, 0.05, &model), PENSTOCK_MODEL_MISSING, NULL,
       "no model 'net' yet");
  expect(model == NULL, "no model");
  says(penstock_local_open(client, "n@t", 0, 0, &model), PENSTOCK_NAME, NULL, "n@t");
  post(argv[1], 1);
  penstock_local_model* patient;
  says(penstock_local_open(client, "net", 0, 10, &model), 0, NULL, "");
  says(penstock_local_open(client, "net", INFINITY, 0, &patient), 0, NULL, "");
  compare(model, 1);
  compare(model, 8);
  post(argv[2], 2);
  compare(model, 8);
  expect(penstock_local_version(model) == 2, "it follows");
  errors(model);
  expect(penstock_local_version(patient) == 1, "it does not look");
  says(penstock_local_refresh(patient), 0, patient, "");
  expect(penstock_local_version(patient) == 2, "it has looked");
  compare(patient, 8);
  penstock_local_close(model);
  penstock_local_close(patient);
  penstock_local_close(NULL);
  penstock_close(client);
  return 0;
}

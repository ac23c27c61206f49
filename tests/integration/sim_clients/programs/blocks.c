// Each rank of an MPI program puts its block of a global field, out of an array with ghost cells. Then rank 0
// reads all of them into one array, as a reader in C would.
#include <math.h>
#include <mpi.h>
#include <penstock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kRows = 7, kColumns = 10, kGhosts = 1 };

static int rank, ranks;

static void check(int status, const penstock_client* client) {
  if (!status) return;
  fprintf(stderr, "rank %d: %s\n", rank, penstock_error(client));
  MPI_Abort(MPI_COMM_WORLD, 1);
}

// Where part `i` of `parts` begins: they differ by one at most.
static int64_t start_of(int64_t length, int i, int parts) { return length * i / parts; }

static void put(penstock_client* client, const int* parts, const int* at) {
  static const char* kNames[] = {"y", "x"};
  const int64_t whole[] = {kRows, kColumns};
  int64_t offset[2], dims[2];
  for (int i = 0; i < 2; i++) {
    offset[i] = start_of(whole[i], at[i], parts[i]);
    dims[i] = start_of(whole[i], at[i] + 1, parts[i]) - offset[i];
  }
  const int64_t width = dims[1] + 2 * kGhosts, strides[] = {width * (int64_t)sizeof(double), sizeof(double)};
  double* T = calloc((size_t)((dims[0] + 2 * kGhosts) * width), sizeof *T);
  if (!T) MPI_Abort(MPI_COMM_WORLD, 2);
  for (int64_t i = 0; i < (dims[0] + 2 * kGhosts) * width; i++) T[i] = NAN;  // what must not be sent
  double* inner = T + kGhosts * width + kGhosts;
  const penstock_about about = {"K", 2, kNames, whole, offset};
  const penstock_field fields[] = {{"T", {inner, PENSTOCK_FLOAT64, 2, dims, strides}}};
  check(penstock_describe_field(client, "snapshots", "T", &about), client);
  for (int step = 0; step <= 10; step += 10) {
    for (int64_t i = 0; i < dims[0]; i++)
      for (int64_t j = 0; j < dims[1]; j++)
        inner[i * width + j] = (double)(1000 * step + 100 * (offset[0] + i) + offset[1] + j);
    check(penstock_put_snapshot(client, "snapshots", step, 0.1 * step, fields, 1), client);
  }
  free(T);
}

static void read_all(penstock_client* client) {
  static double whole[kRows][kColumns];
  const int64_t strides[] = {sizeof whole[0], sizeof(double)};
  int64_t count;
  check(penstock_announced(client, "snapshots", &count), client);
  for (int64_t position = 0; position < count; position++) {
    penstock_snapshot found;
    check(penstock_snapshot_info(client, "snapshots", position, &found), client);
    if (found.step != 10) continue;
    const penstock_found* T = &found.fields[0];
    double* to = &whole[T->about.offset[0]][T->about.offset[1]];
    const int64_t dims[] = {T->info.dims[0], T->info.dims[1]};
    const penstock_field into[] = {{"T", {to, PENSTOCK_FLOAT64, 2, dims, strides}}};
    check(penstock_get_snapshot_fields(client, "snapshots", position, into, 1, NULL), client);
  }
  for (int i = 0; i < kRows; i++)
    for (int j = 0; j < kColumns; j++)
      if (whole[i][j] != 10000 + 100 * i + j) {
        fprintf(stderr, "(%d, %d) is %g\n", i, j, whole[i][j]);
        MPI_Abort(MPI_COMM_WORLD, 3);
      }
  printf("%lld snapshots\n", (long long)count);
}

int main(int argc, char** argv) {
  int parts[2] = {0, 0};
  penstock_client* client;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Dims_create(ranks, 2, parts);
  const int at[] = {rank / parts[1], rank % parts[1]};
  check(penstock_connect(NULL, 0, &client), NULL);
  put(client, parts, at);
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) read_all(client);
  check(penstock_end_stream(client, "snapshots"), client);
  penstock_close(client);
  MPI_Finalize();
  return 0;
}

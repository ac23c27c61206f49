// A model in this process whose database goes away: version 1 of "net" is answered by until standard input
// ends, and then again. Maps float32 (1, 4) to the same shape.

#include <penstock_torch.h>
#include <stdio.h>
#include <string.h>

static int failed(const char* what, const penstock_local_model* model) {
  fprintf(stderr, "%s: %s\n", what, penstock_local_error(model));
  return 1;
}

int main(void) {
  float x[4] = {1, 2, 3, 4}, before[4], after[4];
  const int64_t dims[] = {1, 4};
  const penstock_array input = {x, PENSTOCK_FLOAT32, 2, dims, NULL};
  const penstock_array first = {before, PENSTOCK_FLOAT32, 2, dims, NULL},
                       next = {after, PENSTOCK_FLOAT32, 2, dims, NULL};
  penstock_client* client;
  penstock_local_model* model;
  if (penstock_connect(NULL, 0.2, &client)) return 2;
  if (penstock_local_open(client, "net", 0, 0, &model)) return failed("open", NULL);
  if (penstock_local_run(model, &input, 1, &first, 1)) return failed("run", model);
  if (*penstock_local_error(model)) return failed("an error", model);
  puts("ready");
  fflush(stdout);
  while (getchar() != EOF) continue;
  for (int i = 0; i < 3; i++) {
    memset(after, 0, sizeof after);
    if (penstock_local_run(model, &input, 1, &next, 1)) return failed("run without a database", model);
    if (memcmp(before, after, sizeof after)) return failed("another answer", model);
    if (!*penstock_local_error(model)) return failed("it does not say that the database is gone", model);
  }
  if (penstock_local_refresh(model) != PENSTOCK_UNAVAILABLE) return failed("refresh", model);
  puts(penstock_local_error(model));
  penstock_local_close(model);
  penstock_close(client);
  return 0;
}

/* A solver in C: puts a field, stores a model and a script, runs both, and checks what comes back. */
#include <c_client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(SRError found, const char* what) {
  if (found == SRNoError) return;
  fprintf(stderr, "%s failed: %s\n", what, SRGetLastError());
  exit(1);
}

#define TEXT(text) text, strlen(text)

int main(int argc, char** argv) {
  void* client = NULL;
  float x[6] = {0, 1, 2, 3, 4, 5}, y[6], z[6];
  size_t dims[] = {2, 3}, flat[] = {6}, one = 1;
  const char *input[] = {"x", "x"}, *output[] = {"y"}, *tripled[] = {"z"};
  size_t lengths[] = {1, 1};
  const char* script = "def triple(x):\n    return 3 * x\n";
  bool there = false;
  if (argc != 2) return 2;
  must(SimpleCreateClient(TEXT("c"), &client), "connecting");
  must(put_tensor(client, TEXT("x"), x, dims, 2, SRTensorTypeFloat, SRMemLayoutContiguous), "put_tensor");
  must(set_model_from_file(client, TEXT("m"), TEXT(argv[1]), TEXT("TORCH"), TEXT("CPU"), 0, 0, 0, TEXT("c"),
                           NULL, NULL, 0, NULL, NULL, 0),
       "set_model_from_file");
  must(run_model(client, TEXT("m"), input, lengths, 2, output, &one, 1), "run_model");
  must(unpack_tensor(client, TEXT("y"), y, flat, 1, SRTensorTypeFloat, SRMemLayoutContiguous),
       "unpack_tensor");
  must(set_script(client, TEXT("s"), TEXT("CPU"), TEXT(script)), "set_script");
  must(run_script(client, TEXT("s"), TEXT("triple"), input, lengths, 1, tripled, &one, 1), "run_script");
  must(unpack_tensor(client, TEXT("z"), z, flat, 1, SRTensorTypeFloat, SRMemLayoutContiguous),
       "unpack_tensor");
  for (int i = 0; i < 6; ++i) {
    if (y[i] == 2 * x[i] && z[i] == 3 * x[i]) continue;
    fprintf(stderr, "element %d is %g and %g\n", i, y[i], z[i]);
    return 1;
  }
  must(tensor_exists(client, TEXT("x"), &there), "tensor_exists");
  if (!there) return 1;
  if (run_model(client, TEXT("missing"), input, lengths, 2, output, &one, 1) == SRNoError) return 1;
  must(DeleteCClient(&client), "leaving");
  puts("all answers are right");
  return 0;
}

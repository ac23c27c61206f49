// Whatever a server answers, a call ends with a status in time, and nothing is read or written past an end:
// every reply cut off at every byte, and with bytes changed at random. Under ASan and UBSan where CMake was
// told so.
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "internal.h"

enum { kChanges = 400, kTries = 1000, kArena = 1 << 16 };

// A server that answers PING with PONG, PENSTOCK.ARENA with its greeting, and everything else with one reply;
// then it hangs up.
typedef struct server {
  pthread_t thread;
  int listening;
  pthread_mutex_t mutex;
  char reply[4096];
  size_t length;
  char greeting[512];
  size_t greeting_length;
  int leaves;  // behind its greeting
} server;

static void answer(server* s, int fd) {
  char request[4096];
  for (;;) {
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got <= 0) return;
    if (got >= 14 && !memcmp(request, "*1\r\n$4\r\nPING\r\n", 14)) {
      send(fd, "+PONG\r\n", 7, MSG_NOSIGNAL);
      continue;
    }
    if (memmem(request, (size_t)got, "PENSTOCK.ARENA", 14)) {
      pthread_mutex_lock(&s->mutex);
      send(fd, s->greeting, s->greeting_length, MSG_NOSIGNAL);
      int leaves = s->leaves;
      pthread_mutex_unlock(&s->mutex);
      if (leaves) return;
      continue;
    }
    pthread_mutex_lock(&s->mutex);
    send(fd, s->reply, s->length, MSG_NOSIGNAL);
    pthread_mutex_unlock(&s->mutex);
    return;
  }
}

static void* serve(void* argument) {
  server* s = argument;
  for (;;) {
    int fd = accept(s->listening, NULL, NULL);
    if (fd < 0) return NULL;
    answer(s, fd);
    close(fd);
  }
}

static void* place(void* context, const char* name, const penstock_info* info) {
  (void)name;
  void** memory = context;
  free(*memory);
  return info->nbytes < 1 << 20 ? *memory = malloc(info->nbytes ? info->nbytes : 1) : NULL;
}

// Every kind of reply is read by one of these calls.
static void call_everything(penstock_client* client) {
  double data[6] = {0};
  int64_t dims[] = {2, 3}, strides[] = {8, 16}, number;
  penstock_array plain = {data, PENSTOCK_FLOAT64, 2, dims, NULL}, turned = plain;
  turned.strides = strides;
  void* memory = NULL;
  penstock_snapshot snapshot;
  penstock_dataset* dataset = NULL;
  penstock_view *mapped = NULL, *leased = NULL, *fields = NULL;
  int status[] = {penstock_get_tensor(client, "t", &plain),
                  penstock_get_tensor(client, "t", &turned),
                  penstock_get_tensor_to(client, "t", place, &memory),
                  penstock_get_snapshot(client, "s", 0, place, &memory, &snapshot),
                  penstock_get_dataset(client, "d", &dataset),
                  penstock_infer_to(client, "m", 1, &plain, 1, 1, place, &memory),
                  penstock_model_version(client, "m", &number),
                  penstock_announced(client, "s", &number),
                  penstock_map_tensor(client, "t", &mapped),
                  penstock_map_snapshot(client, "s", 0, &snapshot, &fields),
                  penstock_lease(client, PENSTOCK_FLOAT64, 2, dims, &leased),
                  penstock_put_tensor(client, "t", &plain)};
  for (size_t i = 0; i < sizeof status / sizeof *status; i++)
    CHECK(status[i] >= 0 && status[i] <= PENSTOCK_INTERRUPTED);
  if (mapped) memcpy(data, penstock_view_array(mapped, 0).data, 0);
  if (leased) {
    penstock_array there = penstock_view_array(leased, 0);
    memset(there.data, 1, sizeof data);
    int put = penstock_put_tensor(client, "t", &there);
    CHECK(put >= 0 && put <= PENSTOCK_INTERRUPTED);
  }
  penstock_unmap(mapped);
  penstock_unmap(leased);
  penstock_unmap(fields);
  penstock_dataset_free(dataset);
  free(memory);
}

static void set_reply(server* s, const char* reply, size_t length) {
  pthread_mutex_lock(&s->mutex);
  memcpy(s->reply, reply, length);
  s->length = length;
  pthread_mutex_unlock(&s->mutex);
}

static void torture(server* s, penstock_client* client, const char* reply, size_t length) {
  char changed[4096];
  for (size_t cut = 0; cut < length; cut++) {
    set_reply(s, reply, cut);
    call_everything(client);
  }
  for (int i = 0; i < kChanges; i++) {
    memcpy(changed, reply, length);
    for (unsigned k = 0; k <= draw(3); k++)
      changed[draw((unsigned)length)] = "0123456789*$:+-\r\n\0\377a"[draw(21)];
    set_reply(s, changed, length);
    call_everything(client);
  }
}

static void set_greeting(server* s, const char* greeting, size_t length, int leaves) {
  pthread_mutex_lock(&s->mutex);
  memcpy(s->greeting, greeting, length);
  s->greeting_length = length;
  s->leaves = leaves;
  pthread_mutex_unlock(&s->mutex);
}

// A server that hangs up is looked for again so long; a busy machine may take longer to say PONG.
static penstock_client* connected(const char* address) {
  penstock_client* client = NULL;
  for (int tries = 0; tries < kTries && !client; tries++) penstock_connect(address, 1e-4, &client);
  if (client) return client;
  fprintf(stderr, "%s\n", penstock_error(NULL));
  exit(EXIT_FAILURE);
}

// A greeting that tells of memory which is there.
static size_t tell_of_arena(char* greeting, size_t room, int fd, const char* id) {
  char path[64];
  int length = snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
  return (size_t)snprintf(greeting, room, "*5\r\n$%d\r\n%s\r\n:%d\r\n$32\r\n%s\r\n:7\r\n*1\r\n:4096\r\n",
                          length, path, kArena, id);
}

#define TENSOR "*6\r\n$5\r\ndtype\r\n$6\r\nDOUBLE\r\n$5\r\nshape\r\n*2\r\n:2\r\n:3\r\n$4\r\nblob\r\n$48\r\n"
#define BYTES "0123456789012345678901234567890123456789abcdefgh\r\n"

// The same with shared memory: every reply, also the one that tells of it.
static void torture_sharing(server* s, const char* address) {
  static const char kId[] = "0123456789abcdef0123456789abcdef";
  static const char kMapped[] = "*4\r\n$6\r\nDOUBLE\r\n*2\r\n:2\r\n:3\r\n:4096\r\n:48\r\n";
  static const char kBytes[] = "*4\r\n$6\r\nDOUBLE\r\n*2\r\n:2\r\n:3\r\n$-1\r\n$48\r\n" BYTES;
  static const char kOffset[] = ":8192\r\n", kFull[] = "-ARENAFULL no room\r\n";
  char greeting[400], changed[400];
  int fd = memfd_create("arena", MFD_CLOEXEC);
  if (ftruncate(fd, kArena) || pwrite(fd, "PENSTOCK", 8, 0) != 8 || pwrite(fd, kId, 32, 8) != 32)
    exit(EXIT_FAILURE);
  setenv("PENSTOCK_SHARED_MEMORY", "1", 1);
  size_t length = tell_of_arena(greeting, sizeof greeting, fd, kId);
  set_greeting(s, greeting, length, 0);
  penstock_client* client = connected(address);
  CHECK(!strcmp(penstock_transport(client), "shared memory"));
  penstock_set_timeout(client, 1);
  torture(s, client, kMapped, sizeof kMapped - 1);
  torture(s, client, kBytes, sizeof kBytes - 1);
  torture(s, client, kOffset, sizeof kOffset - 1);
  torture(s, client, kFull, sizeof kFull - 1);
  set_reply(s, kMapped, sizeof kMapped - 1);
  for (int i = 0; i < kChanges; i++) {
    memcpy(changed, greeting, length);
    for (unsigned k = 0; k <= draw(3); k++)
      changed[draw((unsigned)length)] = "0123456789*$:+-\r\n\0\377a"[draw(21)];
    set_greeting(s, changed, i % 2 ? length : draw((unsigned)length), 1);
    call_everything(client);
  }
  set_greeting(s, greeting, length, 0);
  penstock_close(client);
  close(fd);
}

int main(void) {
  static const char kOld[] = "-ERR unknown command 'PENSTOCK.ARENA'\r\n";
  static const char kTensor[] = TENSOR BYTES;
  static const char kRun[] = "*3\r\n+OK\r\n+OK\r\n" TENSOR BYTES;
  static const char kHash[] = "*2\r\n$13\r\n.tensor_names\r\n$10\r\n\7\1\0\0\0\0\0\0\0u\r\n";
  static const char kInfo[] = "*4\r\n$3\r\nkey\r\n$1\r\nm\r\n$3\r\ntag\r\n$2\r\n17\r\n";
  static const char kName[] = "$7\r\n{a.0.1}\r\n";
  char path[] = "/tmp/penstock-replies-XXXXXX";
  if (!mkdtemp(path)) return EXIT_FAILURE;
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s/s", path);
  server s = {.listening = socket(AF_UNIX, SOCK_STREAM, 0), .mutex = PTHREAD_MUTEX_INITIALIZER};
  set_greeting(&s, kOld, sizeof kOld - 1, 0);
  if (bind(s.listening, (struct sockaddr*)&at, sizeof at) || listen(s.listening, 16)) return EXIT_FAILURE;
  pthread_create(&s.thread, NULL, serve, &s);
  char address[200];
  snprintf(address, sizeof address, "unix://%s", at.sun_path);
  penstock_client* client = connected(address);
  penstock_set_timeout(client, 1);
  torture(&s, client, kTensor, sizeof kTensor - 1);
  torture(&s, client, kRun, sizeof kRun - 1);
  torture(&s, client, kHash, sizeof kHash - 1);
  torture(&s, client, kInfo, sizeof kInfo - 1);
  torture(&s, client, kName, sizeof kName - 1);
  int64_t dims[] = {2, 3};
  double data[6] = {0};
  penstock_array array = {data, PENSTOCK_FLOAT64, 2, dims, NULL};
  set_reply(&s, kTensor, sizeof kTensor - 1);
  int status = PENSTOCK_UNAVAILABLE;
  for (int tries = 0; tries < kTries && status == PENSTOCK_UNAVAILABLE; tries++)
    status = penstock_get_tensor(client, "t", &array);
  CHECK(!status);
  CHECK(!memcmp(data, BYTES, sizeof data));
  penstock_close(client);
  torture_sharing(&s, address);
  shutdown(s.listening, SHUT_RDWR);
  pthread_join(s.thread, NULL);
  close(s.listening);
  unlink(at.sun_path);
  rmdir(path);
  return report();
}

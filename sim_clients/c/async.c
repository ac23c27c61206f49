// Asynchronous puts.
//
// Design. The caller's thread checks a put, copies its arrays into one block of memory and appends it to a
// queue that is bounded in bytes; where there is no room it waits. One thread, started by the first such put,
// sends the blocks in order with a client of its own. The queue, the count of bytes and the first error are
// guarded by `mutex`; `changed` is signalled on every change of them. A job stays the first of the queue
// until it has arrived. The thread ends, and is joined, by psk_async_stop.

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

typedef struct job job;
struct job {
  job* next;
  size_t bytes;
  char* stream;  // NULL: a tensor, whose name is that of the only field
  psk_prepared prepared;
  int count;
  penstock_field* fields;  // names, dims and bytes lie behind them, in the same block
};

struct psk_async {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  pthread_t thread;
  penstock_client* client;  // the thread's
  job *first, *last;
  size_t bytes;  // of the queue, whose first job may be on its way
  int stopping;
  psk_error error;  // status 0: none
};

static const double kSlice = 0.1;  // between looks for a signal

static void free_job(job* one) {
  free(one->stream);
  psk_free_prepared(&one->prepared);
  free(one);
}

// ---- The thread

static int send_job(penstock_client* client, job* one) {
  if (!one->stream) return penstock_put_tensor(client, one->fields[0].name, &one->fields[0].array);
  psk_begin(client, "put snapshot", one->prepared.name);
  return psk_put_prepared(client, one->stream, &one->prepared, one->fields, one->count);
}

// "steps 4 to 6 of the stream 'snapshots', the tensor 'u'": what is queued, the first of it on its way.
static void describe_queue(const psk_async* async, char* text, size_t room) {
  size_t used = 0;
  for (const job* one = async->first; one;) {
    const job* last = one;
    while (one->stream && last->next && last->next->stream && !strcmp(last->next->stream, one->stream))
      last = last->next;
    const char* comma = used ? ", " : "";
    int more =
        one->stream && last != one ? snprintf(text + used, room - used, "%ssteps %s to %s of the stream '%s'",
                                              comma, strrchr(one->prepared.name, '.') + 1,
                                              strrchr(last->prepared.name, '.') + 1, one->stream)
        : one->stream ? snprintf(text + used, room - used, "%sstep %s of the stream '%s'", comma,
                                 strrchr(one->prepared.name, '.') + 1, one->stream)
                      : snprintf(text + used, room - used, "%sthe tensor '%s'", comma, one->fields[0].name);
    if (more < 0 || (size_t)more >= room - used) {
      memcpy(text + room - sizeof "...", "...", sizeof "...");
      return;
    }
    used += (size_t)more;
    one = last->next;
  }
}

static void add_lost(penstock_client* client, const psk_async* async) {
  char lost[512] = "";
  describe_queue(async, lost, sizeof lost);
  psk_add_reason(client, "; of what was queued did not arrive: %s", lost);
}

static void discard_queue(psk_async* async) {
  while (async->first) {
    job* one = async->first;
    async->first = one->next;
    async->bytes -= one->bytes;
    free_job(one);
  }
  async->last = NULL;
}

static void* work(void* argument) {
  psk_async* async = argument;
  pthread_mutex_lock(&async->mutex);
  for (;;) {
    while (!async->first && !async->stopping) pthread_cond_wait(&async->changed, &async->mutex);
    if (async->stopping) break;
    job* one = async->first;
    pthread_mutex_unlock(&async->mutex);
    int status = send_job(async->client, one);
    pthread_mutex_lock(&async->mutex);
    if (status) {
      add_lost(async->client, async);
      async->error = async->client->error;
      discard_queue(async);
    } else {
      async->first = one->next;
      if (!async->first) async->last = NULL;
      async->bytes -= one->bytes;
      free_job(one);
    }
    pthread_cond_broadcast(&async->changed);
  }
  pthread_mutex_unlock(&async->mutex);
  return NULL;
}

// The solver's signal handlers run in the solver's threads.
static int start_thread(psk_async* async) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&async->thread, NULL, work, async);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

static int start(penstock_client* client) {
  if (client->async) return 0;
  psk_async* async = calloc(1, sizeof *async);
  penstock_client* own = async ? psk_client_like(client) : NULL;
  if (!own) {
    free(async);
    return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a second connection");
  }
  if (psk_client_reach(own)) {
    int status = own->error.status;
    client->error = own->error;
    psk_client_free(own);
    free(async);
    return status;
  }
  async->client = own;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&async->mutex, NULL);
  pthread_cond_init(&async->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  int error = start_thread(async);
  if (error) {
    pthread_cond_destroy(&async->changed);
    pthread_mutex_destroy(&async->mutex);
    psk_client_free(own);
    free(async);
    return psk_fail(client, PENSTOCK_MEMORY, NULL, "no thread for it: %s", strerror(error));
  }
  client->async = async;
  return 0;
}

// ---- The caller's side

// Wait for a change, or a little. The mutex is held.
static int wait_a_little(penstock_client* client, psk_async* async, double until) {
  double now = psk_now(), at = now + kSlice < until ? now + kSlice : until;
  struct timespec time = {(time_t)at, (long)(1e9 * (at - floor(at)))};
  pthread_cond_timedwait(&async->changed, &async->mutex, &time);
  pthread_mutex_unlock(&async->mutex);
  int left = psk_signalled(client);
  pthread_mutex_lock(&async->mutex);
  return left;
}

// The thread's error, once. The mutex is held.
static int take_error(penstock_client* client, psk_async* async) {
  if (!async->error.status) return 0;
  client->error = async->error;
  async->error.status = 0;
  return client->error.status;
}

static int enqueue(penstock_client* client, job* one) {
  psk_async* async = client->async;
  pthread_mutex_lock(&async->mutex);
  int status = take_error(client, async);
  while (!status && async->bytes > 0 && async->bytes + one->bytes > client->queue_bytes) {
    if (psk_now() > client->deadline)
      status =
          psk_fail(client, PENSTOCK_TIMED_OUT, NULL, "the queue had no room after %g s", client->timeout);
    else if (wait_a_little(client, async, client->deadline))
      status = psk_fail(client, PENSTOCK_INTERRUPTED, NULL, "ended by a signal");
    else
      status = take_error(client, async);
  }
  if (!status) {
    if (async->last)
      async->last->next = one;
    else
      async->first = one;
    async->last = one;
    async->bytes += one->bytes;
    pthread_cond_broadcast(&async->changed);
  }
  pthread_mutex_unlock(&async->mutex);
  if (status) free_job(one);
  return status;
}

static size_t rounded(size_t bytes) { return (bytes + 15) / 16 * 16; }

static size_t bytes_of(const penstock_field* field) {
  const penstock_array* array = &field->array;
  return rounded(strlen(field->name) + 1) + rounded((size_t)array->rank * sizeof *array->dims) +
         rounded(psk_nbytes(array->dtype, array->rank, array->dims));
}

// Copy a field to `at`, row-major. Returns where the next one goes.
static char* copy_field(penstock_field* to, const penstock_field* from, char* at) {
  const penstock_array* array = &from->array;
  size_t name = strlen(from->name) + 1, dims = (size_t)array->rank * sizeof *array->dims;
  size_t bytes = psk_nbytes(array->dtype, array->rank, array->dims);
  memcpy(at, from->name, name);
  to->name = at;
  at += rounded(name);
  memcpy(at, array->dims, dims);
  to->array =
      (penstock_array){at + rounded(dims), array->dtype, array->rank, (const int64_t*)(void*)at, NULL};
  psk_walk walk;
  psk_walk_over(&walk, array);
  if (psk_walk_is_plain(&walk))
    memcpy(to->array.data, array->data, bytes);
  else
    psk_gather(&walk, to->array.data, bytes);
  return at + rounded(dims) + rounded(bytes);
}

static job* make_job(penstock_client* client, const penstock_field* fields, int count) {
  size_t head = rounded(sizeof(job)) + rounded((size_t)count * sizeof *fields), bytes = head;
  for (int i = 0; i < count; i++) bytes += bytes_of(&fields[i]);
  char* block = malloc(bytes);
  if (!block) {
    psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for %zu bytes to be queued", bytes);
    return NULL;
  }
  job* one = (job*)(void*)block;
  *one = (job){.bytes = bytes, .count = count};
  one->fields = (penstock_field*)(void*)(block + rounded(sizeof(job)));
  char* at = block + head;
  for (int i = 0; i < count; i++) at = copy_field(&one->fields[i], &fields[i], at);
  return one;
}

int penstock_put_tensor_async(penstock_client* client, const char* name, const penstock_array* array) {
  psk_begin(client, "queue tensor", name);
  int status = psk_check_name(client, "tensor", name);
  if (!status) status = psk_check_array(client, name, array);
  if (!status) status = start(client);
  if (status) return status;
  penstock_field field = {name, *array};
  job* one = make_job(client, &field, 1);
  return one ? enqueue(client, one) : client->error.status;
}

int penstock_put_snapshot_async(penstock_client* client, const char* stream, int64_t step, double time,
                                const penstock_field* fields, int count) {
  psk_prepared prepared;
  psk_begin(client, "queue snapshot", "");
  int status = psk_prepare(client, stream, step, time, fields, count, &prepared);
  if (status) return status;
  status = start(client);
  job* one = status ? NULL : make_job(client, fields, count);
  if (!one) {
    psk_free_prepared(&prepared);
    return client->error.status;
  }
  one->prepared = prepared;
  one->stream = strdup(stream);
  if (!one->stream) {
    free_job(one);
    return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
  }
  status = enqueue(client, one);
  if (!status) psk_note(client, stream, step);
  return status;
}

int penstock_flush(penstock_client* client, double timeout) {
  psk_begin(client, "flush", "");
  psk_async* async = client->async;
  if (!async) return 0;
  double until = psk_now() + timeout;
  pthread_mutex_lock(&async->mutex);
  int status = take_error(client, async);
  while (!status && async->first) {
    if (psk_now() > until)
      status = psk_fail(client, PENSTOCK_TIMED_OUT, NULL, "%zu bytes are still queued after %g s",
                        async->bytes, timeout);
    else if (wait_a_little(client, async, until))
      status = psk_fail(client, PENSTOCK_INTERRUPTED, NULL, "ended by a signal");
    else
      status = take_error(client, async);
  }
  if (!status) status = take_error(client, async);
  pthread_mutex_unlock(&async->mutex);
  return status;
}

int penstock_set_queue(penstock_client* client, size_t bytes) {
  psk_begin(client, "set the queue", "");
  if (bytes == 0) return psk_fail(client, PENSTOCK_INVALID, NULL, "a queue has room for more than 0 bytes");
  client->queue_bytes = bytes;
  return 0;
}

// The wait for the queue was cut short, by its time or a signal, and the thread has ended since.
static int what_is_lost(penstock_client* client, psk_async* async) {
  if (take_error(client, async)) return client->error.status;
  if (async->first)
    add_lost(client, async);
  else
    client->error.status = 0;  // the last one has arrived after all
  return client->error.status;
}

int psk_async_stop(penstock_client* client) {
  psk_async* async = client->async;
  if (!async) return 0;
  int status = penstock_flush(client, client->timeout);
  pthread_mutex_lock(&async->mutex);
  int is_left = async->first != NULL;
  async->stopping = 1;
  pthread_cond_broadcast(&async->changed);
  pthread_mutex_unlock(&async->mutex);
  pthread_join(async->thread, NULL);
  if (is_left) status = what_is_lost(client, async);
  discard_queue(async);
  pthread_cond_destroy(&async->changed);
  pthread_mutex_destroy(&async->mutex);
  psk_client_free(async->client);
  free(async);
  client->async = NULL;
  return status;
}

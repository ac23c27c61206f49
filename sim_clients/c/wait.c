// Waiting for what others put: asked for ever more seldom, so that a thousand ranks that wait do not keep a
// database busy, and what comes soon is seen soon. What is late is seen at most a tenth later than it came.

#include <stdio.h>

#include "internal.h"

static const double kFirst = 0.001, kLongest = 0.5, kShare = 0.1, kLeastTime = 1.0;

// Looks once: sets *there. Returns 0 or a penstock_status.
typedef int (*look)(penstock_client* client, const char* name, int64_t than, int64_t* there);

static int timed_out(penstock_client* client, const char* what, const char* name, double timeout) {
  psk_begin(client, what, name);
  return psk_fail(client, PENSTOCK_TIMED_OUT, name, "it had not come after %g s", timeout);
}

// A look takes no longer than what is left, but for a server that is slow rather than late.
static int look_by(penstock_client* client, look at, const char* name, int64_t than, double left,
                   int64_t* there) {
  double whole = client->timeout, least = left > kLeastTime ? left : kLeastTime;
  client->timeout = least < whole ? least : whole;
  int status = at(client, name, than, there);
  client->timeout = whole;
  return status;
}

static int wait_until(penstock_client* client, look at, const char* what, const char* name, int64_t than,
                      double timeout, int64_t* there) {
  double begin = psk_now();
  *there = 0;
  for (;;) {
    int status = look_by(client, at, name, than, begin + timeout - psk_now(), there);
    if (status || *there) return status;
    double waited = psk_now() - begin, left = timeout - waited;
    if (!(left > 0)) return timed_out(client, what, name, timeout);
    double next = kShare * waited;
    if (next < kFirst) next = kFirst;
    if (next > kLongest) next = kLongest;
    psk_pause(client, next < left ? next : left);
    if (client->interrupted) return psk_fail(client, PENSTOCK_INTERRUPTED, NULL, "ended by a signal");
  }
}

static int look_for_tensor(penstock_client* client, const char* name, int64_t than, int64_t* there) {
  (void)than;
  int exists = 0;
  int status = penstock_tensor_exists(client, name, &exists);
  *there = exists;
  return status;
}

static int look_for_dataset(penstock_client* client, const char* name, int64_t than, int64_t* there) {
  (void)than;
  int exists = 0;
  int status = penstock_dataset_exists(client, name, &exists);
  *there = exists;
  return status;
}

static int look_for_flag(penstock_client* client, const char* name, int64_t than, int64_t* there) {
  (void)than;
  int raised = 0;
  int status = penstock_flag_raised(client, name, &raised);
  *there = raised;
  return status;
}

static int look_at_list(penstock_client* client, const char* name, int64_t than, int64_t* there) {
  int64_t length = 0;
  int status = penstock_list_length(client, name, &length);
  *there = length >= than ? length : 0;
  return status;
}

static int look_at_model(penstock_client* client, const char* name, int64_t than, int64_t* there) {
  int64_t version = 0;
  int status = penstock_model_version(client, name, &version);
  if (status == PENSTOCK_MODEL_MISSING) return 0;
  *there = version > than ? version : 0;
  return status;
}

int penstock_wait_tensor(penstock_client* client, const char* name, double timeout) {
  int64_t there;
  return wait_until(client, look_for_tensor, "wait for tensor", name, 0, timeout, &there);
}

int penstock_wait_dataset(penstock_client* client, const char* name, double timeout) {
  int64_t there;
  return wait_until(client, look_for_dataset, "wait for dataset", name, 0, timeout, &there);
}

int penstock_wait_flag(penstock_client* client, const char* name, double timeout) {
  int64_t there;
  return wait_until(client, look_for_flag, "wait for flag", name, 0, timeout, &there);
}

int penstock_wait_list(penstock_client* client, const char* list, int64_t length, double timeout,
                       int64_t* found) {
  int64_t there = 0;
  int status = length < 1 ? penstock_list_length(client, list, &there)
                          : wait_until(client, look_at_list, "wait for list", list, length, timeout, &there);
  if (!status && found) *found = there;
  return status;
}

int penstock_wait_model(penstock_client* client, const char* name, int64_t after, double timeout,
                        int64_t* version) {
  int64_t there = 0;
  int status = wait_until(client, look_at_model, "wait for a version of", name, after, timeout, &there);
  if (!status && version) *version = there;
  return status;
}

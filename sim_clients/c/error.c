// What went wrong, in words: what, where, and what to try. The texts are those of sim_clients/errors.py.

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "internal.h"

static _Thread_local psk_error without_client;

static void compose(penstock_client* client) {
  psk_error* error = &client->error;
  const char* where = client->address.text ? client->address.text : "";
  const char *doing = error->doing, *subject = error->subject, *reason = error->reason;
  char* text = error->text;
  size_t room = sizeof error->text;
  switch (error->status) {
    case PENSTOCK_ADDRESS:
      snprintf(text, room, "%s (address: '%s')", reason, subject);
      break;
    case PENSTOCK_UNAVAILABLE:
      snprintf(text, room,
               "the database at %s does not answer (%s): %s. Is it still running? `penstock ps` shows it, "
               "`penstock logs` its log.",
               where, doing, reason);
      break;
    case PENSTOCK_FULL:
      snprintf(text, room, "'%s' was not stored, the database is full: %s", subject, reason);
      break;
    case PENSTOCK_REFUSED:
      snprintf(text, room, "the database at %s refused (%s): %s", where, doing, reason);
      break;
    case PENSTOCK_NAME:
      snprintf(text, room, "'%s' cannot name a %s", subject, reason);
      break;
    case PENSTOCK_TENSOR:
      snprintf(text, room, "tensor '%s': %s", subject, reason);
      break;
    case PENSTOCK_SNAPSHOT:
    case PENSTOCK_INCOMPLETE:
      snprintf(text, room, "snapshot '%s': %s", subject, reason);
      break;
    case PENSTOCK_DROPPED:
      snprintf(text, room, "snapshot '%s' was dropped under the policy %s", subject, reason);
      break;
    case PENSTOCK_STREAM_FULL:
      snprintf(text, room, "there is no room in the stream '%s': %s", subject, reason);
      break;
    case PENSTOCK_KEY_MISSING:
      snprintf(text, room, "there is no '%s' in the database", subject);
      break;
    case PENSTOCK_MODEL_MISSING:
      snprintf(text, room, "there is %s in the database; has the trainer posted one?", reason);
      break;
    case PENSTOCK_MODEL_REJECTED:
      snprintf(text, room, "the database refused the model '%s': %s", subject, reason);
      break;
    case PENSTOCK_INFERENCE:
      snprintf(text, room, "inference with the model '%s' failed: %s", subject, reason);
      break;
    default:
      snprintf(text, room, "%s: %s", doing, reason);
  }
}

int psk_fail(penstock_client* client, int status, const char* subject, const char* format, ...) {
  psk_error* error = &client->error;
  if (error->status) return error->status;  // the first error of a call is its cause
  error->status = status;
  const char* about = client->subject ? client->subject : "";
  snprintf(error->doing, sizeof error->doing, "%s%s%s", client->doing ? client->doing : "", *about ? " " : "",
           about);
  snprintf(error->subject, sizeof error->subject, "%s", subject ? subject : about);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->reason, sizeof error->reason, format, arguments);
  va_end(arguments);
  compose(client);
  return status;
}

void psk_add_reason(penstock_client* client, const char* format, ...) {
  psk_error* error = &client->error;
  size_t used = strlen(error->reason);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->reason + used, sizeof error->reason - used, format, arguments);
  va_end(arguments);
  compose(client);
}

int psk_refused(penstock_client* client, const char* text, size_t length) {
  char reason[1024];
  snprintf(reason, sizeof reason, "%.*s", (int)(length < sizeof reason ? length : sizeof reason - 1), text);
  static const char kStreamFull[] = "STREAMFULL ";
  if (!strncmp(reason, kStreamFull, sizeof kStreamFull - 1))
    return psk_fail(client, PENSTOCK_STREAM_FULL, NULL, "%s", reason + sizeof kStreamFull - 1);
  int full = strncmp(reason, "OOM command not allowed", 23) == 0;
  return psk_fail(client, full ? PENSTOCK_FULL : PENSTOCK_REFUSED, NULL, "%s", reason);
}

void psk_remember(const penstock_client* client) { without_client = client->error; }

static const psk_error* error_of(const penstock_client* client) {
  return client ? &client->error : &without_client;
}

const char* penstock_error(const penstock_client* client) { return error_of(client)->text; }

const char* penstock_error_doing(const penstock_client* client) { return error_of(client)->doing; }

const char* penstock_error_subject(const penstock_client* client) { return error_of(client)->subject; }

const char* penstock_error_reason(const penstock_client* client) { return error_of(client)->reason; }

double psk_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int psk_signalled(penstock_client* client) {
  if (client->check && client->check(client->check_context)) client->interrupted = 1;
  return client->interrupted;
}

void psk_pause(penstock_client* client, double seconds) {
  double until = psk_now() + seconds;
  for (double left = seconds; left > 0 && !client->interrupted; left = until - psk_now()) {
    struct timespec time = {(time_t)left, (long)(1e9 * (left - (double)(time_t)left))};
    nanosleep(&time, NULL);
    psk_signalled(client);  // it may have come just before
  }
}

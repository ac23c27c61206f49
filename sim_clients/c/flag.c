// Flags: tensors whose existence says that something has happened. All programs see them, whatever their
// prefix.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static const char kStop[] = "stop";

int psk_set_flag(penstock_client* client, const char* name) {
  static const uint8_t kRaised = 1;
  psk_command_begin(client, 6, psk_reply_ok, NULL);
  psk_word(client, "AI.TENSORSET");
  psk_key(client, "flag.", name, NULL);
  psk_word(client, "UINT8");
  psk_word(client, "1");
  psk_word(client, "BLOB");
  psk_word_bytes(client, &kRaised, 1);
  return psk_run(client);
}

int penstock_raise_flag(penstock_client* client, const char* name) {
  psk_begin(client, "raise flag", name);
  int status = psk_check_name(client, "flag", name);
  return status ? status : psk_set_flag(client, name);
}

int penstock_flag_raised(penstock_client* client, const char* name, int* raised) {
  psk_begin(client, "look for flag", name);
  int status = psk_check_name(client, "flag", name);
  if (status) return status;
  int64_t count = 0;
  psk_command_begin(client, 2, psk_reply_integer, &count);
  psk_word(client, "EXISTS");
  psk_key(client, "flag.", name, NULL);
  status = psk_run(client);
  if (!status) *raised = count > 0;
  return status;
}

int penstock_request_stop(penstock_client* client) { return penstock_raise_flag(client, kStop); }

int penstock_stop_requested(penstock_client* client, int* requested) {
  return penstock_flag_raised(client, kStop, requested);
}

// The flag of the end of a stream. Returns NULL after psk_fail.
static char* ended_flag(penstock_client* client, const char* stream, const char* producer, int64_t rank) {
  if (psk_check_name(client, "stream", stream) || psk_check_name(client, "producer", producer)) return NULL;
  size_t room = strlen(stream) + strlen(producer) + 40;
  char* name = malloc(room);
  if (name)
    snprintf(name, room, "%s.%s.%lld.ended", stream, producer, (long long)rank);
  else
    psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
  return name;
}

int penstock_end_stream(penstock_client* client, const char* stream) {
  psk_begin(client, "end stream", stream);
  char* name = ended_flag(client, stream, client->producer, client->rank);
  int status = name ? psk_set_flag(client, name) : client->error.status;
  free(name);
  return status;
}

int penstock_stream_ended(penstock_client* client, const char* stream, const char* producer, int64_t rank,
                          int* ended) {
  psk_begin(client, "look for the end of stream", stream);
  char* name = ended_flag(client, stream, producer, rank);
  int status = name ? penstock_flag_raised(client, name, ended) : client->error.status;
  free(name);
  return status;
}

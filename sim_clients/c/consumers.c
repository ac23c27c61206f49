// Consumers of streams: what all of them have acknowledged is removed here.

#include "flow.h"

static int check_consumer(penstock_client* client, const char* stream, const char* consumer) {
  int status = psk_check_name(client, "stream", stream);
  return status ? status : psk_check_name(client, "consumer", consumer);
}

int penstock_subscribe(penstock_client* client, const char* stream, const char* consumer, int64_t* position) {
  psk_begin(client, "subscribe to the stream", stream);
  int status = check_consumer(client, stream, consumer);
  if (status) return status;
  int64_t found = 0;
  psk_command_begin(client, 3, psk_reply_integer, &found);
  psk_word(client, "PENSTOCK.SUBSCRIBE");
  psk_key(client, stream, NULL);
  psk_word(client, consumer);
  status = psk_run(client);
  if (!status && position) *position = found;
  return status;
}

// Send a command whose answer names what no consumer needs any more, and remove that.
static int remove_answered(penstock_client* client, const char* stream, psk_answer* next) {
  int status = psk_run(client);
  if (!status) status = psk_remove_all(client, stream, next);
  psk_free_answer(next);
  return status;
}

int penstock_acknowledge(penstock_client* client, const char* stream, const char* consumer,
                         int64_t position) {
  psk_begin(client, "acknowledge in the stream", stream);
  int status = check_consumer(client, stream, consumer);
  if (status) return status;
  psk_answer next = {0};
  psk_command_begin(client, 4, psk_reply_answer, &next);
  psk_word(client, "PENSTOCK.ACK");
  psk_key(client, stream, NULL);
  psk_word(client, consumer);
  psk_word_number(client, position);
  return remove_answered(client, stream, &next);
}

int penstock_unsubscribe(penstock_client* client, const char* stream, const char* consumer) {
  psk_begin(client, "leave the stream", stream);
  int status = check_consumer(client, stream, consumer);
  if (status) return status;
  psk_answer next = {0};
  psk_command_begin(client, 3, psk_reply_answer, &next);
  psk_word(client, "PENSTOCK.UNSUBSCRIBE");
  psk_key(client, stream, NULL);
  psk_word(client, consumer);
  return remove_answered(client, stream, &next);
}

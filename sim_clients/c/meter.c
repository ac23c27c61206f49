// How much of a stream is kept, and how much is there: bounds and meters.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// ---- Bounds

static const char* const kPolicies[] = {"block", "drop_oldest", "drop_newest", "thin", "spill"};

enum { kPolicyCount = sizeof kPolicies / sizeof *kPolicies };

static const double kLongestWait = 1e9;  // s

static int check_bound(penstock_client* client, const char* stream, const penstock_bound* bound) {
  int status = psk_check_name(client, "stream", stream);
  if (status) return status;
  if (!bound) return psk_fail(client, PENSTOCK_INVALID, stream, "the bound must not be NULL");
  if ((int)bound->policy < 0 || (int)bound->policy >= kPolicyCount)
    return psk_fail(client, PENSTOCK_INVALID, stream, "%d is no policy; use one of penstock_policy",
                    (int)bound->policy);
  if (bound->items < 0 || bound->bytes < 0 || bound->keep_every < 0)
    return psk_fail(client, PENSTOCK_INVALID, stream, "no number of a bound is less than 0");
  if (!(bound->wait >= 0 && bound->wait <= kLongestWait))
    return psk_fail(client, PENSTOCK_INVALID, stream, "wait is 0 to %.0f, s, got %g", kLongestWait,
                    bound->wait);
  return 0;
}

static void option(penstock_client* client, const char* keyword, int64_t value) {
  if (!value) return;
  psk_word(client, keyword);
  psk_word_number(client, value);
}

int penstock_bound_stream(penstock_client* client, const char* stream, const penstock_bound* bound) {
  psk_begin(client, "bound the stream", stream);
  int status = check_bound(client, stream, bound);
  if (status) return status;
  int64_t wait = bound->wait > 0 ? llround(bound->wait * 1e3) : 0;
  if (bound->wait > 0 && wait == 0) wait = 1;
  int options = !!bound->items + !!bound->bytes + !!bound->keep_every + !!bound->directory + !!wait;
  psk_command_begin(client, 4 + 2 * options, psk_reply_ok, NULL);
  psk_word(client, "PENSTOCK.BOUND");
  psk_key(client, stream, NULL);
  psk_word(client, "POLICY");
  psk_word(client, kPolicies[bound->policy]);
  option(client, "ITEMS", bound->items);
  option(client, "BYTES", bound->bytes);
  option(client, "EVERY", bound->keep_every);
  option(client, "WAIT", wait);
  if (bound->directory) {
    psk_word(client, "DIRECTORY");
    psk_word(client, bound->directory);
  }
  return psk_run(client);
}

// ---- Meters

static int ask_meter(penstock_client* client, const char* stream, psk_metadata_list* meter) {
  psk_begin(client, "read the meter of stream", stream);
  int status = psk_check_name(client, "stream", stream);
  if (status) return status;
  psk_command_begin(client, 2, psk_reply_metadata, meter);
  psk_word(client, "PENSTOCK.METER");
  psk_key(client, stream, NULL);
  return psk_run(client);
}

// The value of a field as text, to be freed. NULL: no memory.
static char* text_of(const psk_metadata* field) {
  return field->packed.at ? strndup(field->packed.at, field->packed.used) : strdup("");
}

int penstock_stream_meter(penstock_client* client, const char* stream,
                          void (*each)(void* context, const char* name, const char* value), void* context) {
  psk_metadata_list meter = {0};
  int status = ask_meter(client, stream, &meter);
  for (int i = 0; !status && i < meter.count; i++) {
    char* text = text_of(&meter.of[i]);
    if (!text)
      status = psk_fail(client, PENSTOCK_MEMORY, stream, "no memory for a meter");
    else
      each(context, meter.of[i].name, text);
    free(text);
  }
  psk_free_metadata(&meter);
  return status;
}

static int64_t number_in(const psk_metadata_list* meter, const char* name) {
  const psk_metadata* field = psk_find_metadata(meter, name);
  char* text = field ? text_of(field) : NULL;
  int64_t number = text ? strtoll(text, NULL, 10) : 0;
  free(text);
  return number;
}

static int64_t slowest(const psk_metadata_list* meter) {
  static const char kConsumer[] = "consumer:";
  int64_t least = -1;
  for (int i = 0; i < meter->count; i++) {
    if (strncmp(meter->of[i].name, kConsumer, sizeof kConsumer - 1)) continue;
    int64_t position = number_in(meter, meter->of[i].name);
    if (least < 0 || position < least) least = position;
  }
  return least;
}

static double part(int64_t of, int64_t bound) { return bound > 0 ? (double)of / (double)bound : 0; }

int penstock_stream_fill(penstock_client* client, const char* stream, penstock_fill* fill) {
  psk_metadata_list meter = {0};
  int status = ask_meter(client, stream, &meter);
  if (!status) {
    *fill = (penstock_fill){
        .items = number_in(&meter, "items"),
        .bytes = number_in(&meter, "bytes"),
        .announced = number_in(&meter, "announced"),
        .kept_from = number_in(&meter, "kept_from"),
        .dropped = number_in(&meter, "dropped"),
        .skipped = number_in(&meter, "skipped"),
        .spilled = number_in(&meter, "spilled"),
        .waiting = number_in(&meter, "waiting"),
        .acknowledged = slowest(&meter),
    };
    double items = part(fill->items, number_in(&meter, "bound_items"));
    double bytes = part(fill->bytes, number_in(&meter, "bound_bytes"));
    fill->level = items > bytes ? items : bytes;
  }
  psk_free_metadata(&meter);
  return status;
}

int psk_explain_missing(penstock_client* client, const char* stream, int64_t position, const char* name) {
  psk_error kept = client->error;
  psk_metadata_list meter = {0};
  int status = ask_meter(client, stream, &meter);
  int64_t from = number_in(&meter, "kept_from");
  const psk_metadata* policy = psk_find_metadata(&meter, "policy");
  char* text = policy ? text_of(policy) : NULL;
  psk_free_metadata(&meter);
  if (!status && text && position < from) {
    psk_fail(client, PENSTOCK_DROPPED, name,
             "%s: it was at %lld of the stream '%s', which keeps from %lld on", text, (long long)position,
             stream, (long long)from);
  } else if (!status) {
    client->error = kept;
  }
  free(text);
  return client->error.status;
}

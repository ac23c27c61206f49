// What a model is stored as: which backend runs it, and the same bytes again for who runs it elsewhere.
//
// The database answers AI.MODELGET with one bulk, or with pieces where the archive is longer than its
// MODEL_CHUNK_SIZE. How long it is in all is known only behind the last piece.

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

// An ONNX file begins with its field 1, a number, and then has one of its fields 2 to 5, 7, 8 or 14
// (protobuf).
const char* psk_backend_of(const void* model, size_t size) {
  const unsigned char* bytes = model;
  int numbered = size > 2 && bytes[0] == 0x08 && bytes[1] > 0 && bytes[1] < 0x80;
  return numbered && memchr("\x12\x1a\x22\x28\x3a\x42\x72", bytes[2], 7) ? "ONNX" : "TORCH";
}

typedef struct fetch {
  const char* name;
  int64_t version;
  psk_sink sink;
} fetch;

static penstock_info bytes_of(int64_t length) {
  penstock_info info = {.dtype = PENSTOCK_UINT8, .rank = 1, .nbytes = (size_t)length};
  info.dims[0] = length;
  return info;
}

static int refused(penstock_client* client, const fetch* one, const psk_token* token) {
  if (!memmem(token->text, token->length, "model key is empty", 18))
    return psk_refused(client, token->text, token->length);
  if (one->version > 0)
    return psk_fail(client, PENSTOCK_MODEL_MISSING, one->name, "no version %lld of the model '%s'",
                    (long long)one->version, one->name);
  return psk_fail(client, PENSTOCK_MODEL_MISSING, one->name, "no model '%s' yet", one->name);
}

// Read `count` bulks behind each other into memory of our own.
static int read_pieces(penstock_client* client, psk_link* link, int64_t count, char** memory, size_t* used) {
  int status = 0;
  for (int64_t i = 0; i < count; i++) {
    psk_token piece;
    int now = psk_next(client, link, &piece);
    if (now) return now;
    if (piece.kind != '$' || piece.number < 0) return psk_garbage(client, link, "a piece of a model");
    char* larger = status ? NULL : realloc(*memory, *used + (size_t)piece.number + 1);
    if (larger) {
      *memory = larger;
      now = psk_body(client, link, &piece, larger + *used);
      *used += (size_t)piece.number;
    } else {
      now = psk_pass(client, link, &piece);
      status = psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for the archive of the model");
    }
    if (now) return now;
  }
  return status;
}

static int reply_pieces(penstock_client* client, psk_link* link, fetch* one, int64_t count) {
  char* memory = NULL;
  size_t used = 0;
  int status = read_pieces(client, link, count, &memory, &used);
  if (!status) {
    penstock_info info = bytes_of((int64_t)used);
    void* to = one->sink.place(one->sink.context, one->sink.name, &info);
    if (to)
      memcpy(to, memory, used);
    else
      status = psk_fail(client, PENSTOCK_MEMORY, one->name, "no memory was given for %zu bytes", used);
  }
  free(memory);
  return status;
}

static int reply_archive(penstock_client* client, psk_link* link, psk_command* command,
                         const psk_token* token) {
  fetch* one = command->context;
  if (token->kind == '-') return refused(client, one, token);
  if (token->kind == '*' && token->number > 0) return reply_pieces(client, link, one, token->number);
  if (token->kind != '$' || token->number < 0) return psk_garbage(client, link, "the archive of a model");
  psk_header head = {.info = bytes_of(token->number)};
  return psk_read_blob(client, link, &one->sink, &head, token);
}

int penstock_get_model(penstock_client* client, const char* name, int64_t version, penstock_place place,
                       void* context) {
  psk_begin(client, "get model", name);
  int status = psk_check_name(client, "model", name);
  if (!status && version < 0)
    status = psk_fail(client, PENSTOCK_MODEL_REJECTED, name,
                      "a version is a whole number, 1 or greater, got %lld", (long long)version);
  if (status) return status;
  fetch one = {name, version, {.place = place, .context = context, .name = name}};
  const psk_cluster* cluster = &client->cluster;
  // Ranks and members spread over the shards.
  const char* tag =
      cluster->on ? cluster->ranges[(uint64_t)(client->rank + getpid()) % (uint64_t)cluster->n_ranges].tag
                  : NULL;
  psk_again(client);
  psk_command_begin(client, 3, reply_archive, &one);
  psk_word(client, "AI.MODELGET");
  psk_word_model(client, tag, name, version, 1);
  psk_word(client, "BLOB");
  return psk_run(client);
}

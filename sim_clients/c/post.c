// Posting a model: a version is stored on every shard, and then the plain name becomes it, last.
//
//   1. its number is claimed in the registry, the hash {name}.versions: a version never changes
//   2. AI.MODELSTORE on every shard at once. Where one refuses it, the version is taken back
//   3. what is known of it goes into the registry
//   4. PENSTOCK.PROMOTE .. CHECK on every shard at once: all of them have loaded it
//   5. nobody else may change what is live from here on, see swap.c
//   6. {name}.lived is told of the version that is live and is to be left: that is so whatever comes next
//   7. PENSTOCK.PROMOTE on every shard at once. Where one refuses, all are told to go back
//
// The registry is in the slot of {name}. sim_clients/registry.py says what its values are, and
// sim_clients/redis_models.py does the same.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

static const size_t kPiece = (size_t)511 << 20;  // Redis takes words of up to 512 MB

enum { kReportsKept = 1000 };

static const int64_t kVersions = 1000000000000000000;  // the first that is none: the TAG has up to 18 digits

typedef struct post {
  const char* name;
  const void* model;
  size_t size;
  int64_t version;
  int64_t live;  // 0: none
  const char* device;
  const char* about;
} post;

// ---- Replies

static int reply_stored(penstock_client* client, psk_link* link, psk_command* command,
                        const psk_token* token) {
  if (token->kind != '-') return psk_reply_ok(client, link, command, token);
  if (psk_begins(token, "OOM command not allowed")) return psk_refused(client, token->text, token->length);
  return psk_fail(client, PENSTOCK_MODEL_REJECTED, command->context, "%.*s", (int)token->length, token->text);
}

static int reply_promoted(penstock_client* client, psk_link* link, psk_command* command,
                          const psk_token* token) {
  static const char kMissing[] = "there is no such model";
  const post* one = command->context;
  if (token->kind != '-') return psk_reply_ok(client, link, command, token);
  if (memmem(token->text, token->length, kMissing, sizeof kMissing - 1))
    return psk_fail(client, PENSTOCK_MODEL_MISSING, one->name, "no version %lld of the model '%s'",
                    (long long)one->version, one->name);
  return psk_fail(client, PENSTOCK_MODEL_REJECTED, one->name, "%.*s", (int)token->length, token->text);
}

// What came of it is not looked at here.
static int reply_whatever(penstock_client* client, psk_link* link, psk_command* command,
                          const psk_token* token) {
  (void)command;
  return token->kind == '-' ? 0 : psk_pass(client, link, token);
}

// ---- The registry

static void registry_key(penstock_client* client, const char* name, const char* what) {
  psk_key(client, "{", name, "}.", what, NULL);
}

static int claim(penstock_client* client, const post* one) {
  char mine[512], *held = NULL;
  snprintf(mine, sizeof mine, "posting by %.400s.%lld %s", client->producer, (long long)client->rank,
           client->token);
  psk_again(client);
  psk_command_begin(client, 4, psk_reply_ignored, NULL);
  psk_word(client, "HSETNX");
  registry_key(client, one->name, "versions");
  psk_word_number(client, one->version);
  psk_word(client, mine);
  psk_command_begin(client, 3, psk_reply_text, &held);
  psk_word(client, "HGET");
  registry_key(client, one->name, "versions");
  psk_word_number(client, one->version);
  int status = psk_run(client);
  if (!status && (!held || strcmp(held, mine)))
    status = psk_fail(client, PENSTOCK_MODEL_REJECTED, one->name,
                      "there was a version %lld before, and a version never changes; take the next number",
                      (long long)one->version);
  free(held);
  return status;
}

// The braces of an object in JSON around what is known here and what the caller knows.
static int record(penstock_client* client, const post* one) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  char facts[160], parent[24] = "null";
  if (one->live) snprintf(parent, sizeof parent, "%lld", (long long)one->live);
  snprintf(facts, sizeof facts, "{\"parent\": %s, \"unix_time\": %lld.%03ld, \"bytes\": %zu", parent,
           (long long)now.tv_sec, now.tv_nsec / 1000000, one->size);
  const char* more = one->about + 1 + strspn(one->about + 1, " \t\n\r");
  psk_again(client);
  psk_command_begin(client, 4, psk_reply_ignored, NULL);
  psk_word(client, "HSET");
  registry_key(client, one->name, "versions");
  psk_word_number(client, one->version);
  psk_word_joined(client, facts, *more == '}' ? "" : ", ", more, NULL);
  return psk_run(client);
}

// The live version has lived, and what came after it and was left for it is none to go back to. It is noted
// before it is left and not when it comes: the TAG alone says what is live, and a swap may fail.
static int note_lived(penstock_client* client, const post* one) {
  if (!one->live) return 0;
  char version[24], after[26];
  snprintf(version, sizeof version, "%lld", (long long)one->live);
  snprintf(after, sizeof after, "(%s", version);
  psk_again(client);
  psk_command_begin(client, 4, psk_reply_ignored, NULL);
  psk_word(client, "ZREMRANGEBYSCORE");
  registry_key(client, one->name, "lived");
  psk_word(client, after);
  psk_word(client, "+inf");
  psk_command_begin(client, 4, psk_reply_ignored, NULL);
  psk_word(client, "ZADD");
  registry_key(client, one->name, "lived");
  psk_word(client, version);
  psk_word(client, version);
  return psk_run(client);
}

// ---- Storing

static int is_device(const char* device) {
  if (strncmp(device, "CPU", 3) && strncmp(device, "GPU", 3)) return 0;
  if (!device[3]) return 1;
  return device[3] == ':' && device[4] && strspn(device + 4, "0123456789") == strlen(device + 4);
}

static int check_version(penstock_client* client, const char* name, int64_t version) {
  if (version >= 1 && version < kVersions) return 0;
  return psk_fail(client, PENSTOCK_MODEL_REJECTED, name,
                  "a version is a whole number, 1 or greater and of up to 18 digits, got %lld",
                  (long long)version);
}

static int check_post(penstock_client* client, const post* one) {
  int status = psk_check_model(client, one->name);
  if (status) return status;
  if (!one->model || one->size == 0)
    return psk_fail(client, PENSTOCK_MODEL_REJECTED, one->name,
                    "a model is the bytes of a TorchScript archive, got an empty one");
  if (!is_device(one->device))
    return psk_fail(client, PENSTOCK_MODEL_REJECTED, one->name,
                    "a device is CPU, GPU, CPU:n or GPU:n, got '%s'", one->device);
  status = psk_check_model_about(client, one->name, one->about);
  if (status) return status;
  return check_version(client, one->name, one->version);
}

static int store_everywhere(penstock_client* client, const post* one) {
  int pieces = (int)((one->size + kPiece - 1) / kPiece);
  psk_again(client);
  for (int place = 0; place < psk_places(client); place++) {
    psk_command_begin(client, 7 + pieces, reply_stored, (void*)(uintptr_t)one->name);
    psk_word(client, "AI.MODELSTORE");
    psk_word_model(client, psk_place_tag(client, place), one->name, one->version, 1);
    psk_word(client, psk_backend_of(one->model, one->size));
    psk_word(client, one->device);
    psk_word(client, "TAG");
    psk_word_number(client, one->version);
    psk_word(client, "BLOB");
    for (size_t at = 0; at < one->size; at += kPiece)
      psk_word_memory(client, (const char*)one->model + at,
                      one->size - at < kPiece ? one->size - at : kPiece);
  }
  return psk_run(client);
}

static void build_deletion(penstock_client* client, int place, const char* name, int64_t version) {
  psk_command_begin(client, 2, reply_whatever, NULL);
  psk_word(client, "AI.MODELDEL");
  psk_word_model(client, psk_place_tag(client, place), name, version, 1);
}

// Nobody has seen the version yet. A shard that does not answer may keep it, under a number that is claimed.
static void take_back(penstock_client* client, const post* one) {
  int status = client->error.status;
  if (status == PENSTOCK_UNAVAILABLE || status == PENSTOCK_INTERRUPTED) return;
  psk_again(client);
  for (int place = 0; place < psk_places(client); place++)
    build_deletion(client, place, one->name, one->version);
  psk_command_begin(client, 3, reply_whatever, NULL);
  psk_word(client, "HDEL");
  registry_key(client, one->name, "versions");
  psk_word_number(client, one->version);
  (void)psk_run(client);  // the error of the call is that of the store
}

// ---- Promoting

static void build_promotion(penstock_client* client, int place, const char* name, int64_t version,
                            int only_check, psk_reply reply, const post* context) {
  const char* tag = psk_place_tag(client, place);
  psk_command_begin(client, 3 + only_check, reply, (void*)(uintptr_t)context);
  psk_word(client, "PENSTOCK.PROMOTE");
  psk_word_model(client, tag, name, 0, 1);
  psk_word_model(client, tag, name, version, 0);
  if (only_check) psk_word(client, "CHECK");
}

static int promote_everywhere(penstock_client* client, const post* one, int only_check) {
  psk_again(client);
  for (int place = 0; place < psk_places(client); place++)
    build_promotion(client, place, one->name, one->version, only_check, reply_promoted, one);
  return psk_run(client);
}

// Write by which version each shard answers; return whether all do by the one that was live.
static int describe_shards(penstock_client* client, const post* one, char* text, size_t room) {
  size_t used = 0;
  int back = 1;
  *text = '\0';
  for (int place = 0; place < psk_places(client); place++) {
    char shard[300] = "the database", told[48] = "does not answer";
    if (client->cluster.on) {
      const psk_endpoint* at = &client->cluster.ranges[place].link->endpoint;
      snprintf(shard, sizeof shard, "%s:%d", at->host, at->port);
    }
    int64_t version = 0;
    psk_ask_anew(client);
    int status = psk_live_at(client, one->name, place, &version);
    if (!status && version) snprintf(told, sizeof told, "has version %lld", (long long)version);
    if (!status && !version) snprintf(told, sizeof told, "has none");
    back &= !status && version == one->live;
    if (used < room)
      used += (size_t)snprintf(text + used, room - used, "%s%s %s", place ? ", " : "", shard, told);
  }
  return back;
}

// A promotion has failed on some shard: all are to answer as before, unless another program's turn has come.
// Makes the error say what came of it.
static int go_back(penstock_client* client, const post* one) {
  psk_error cause = client->error;
  int gone = cause.status == PENSTOCK_UNAVAILABLE || cause.status == PENSTOCK_INTERRUPTED;
  int kind = gone ? cause.status : PENSTOCK_MODEL_REJECTED;
  psk_ask_anew(client);
  int mine =
      psk_swap_keep(client, one->name) != PENSTOCK_MODEL_REJECTED;  // where it is gone, others need it too
  for (int place = 0; mine && place < psk_places(client); place++) {
    psk_ask_anew(client);
    if (one->live)
      build_promotion(client, place, one->name, one->live, 0, reply_whatever, NULL);
    else
      build_deletion(client, place, one->name, 0);
    (void)psk_run(client);
  }
  char shards[1024];
  int back = describe_shards(client, one, shards, sizeof shards);
  client->error.status = 0;
  if (back && one->live)
    return psk_fail(client, kind, one->name, "%s; version %lld is live again", cause.reason,
                    (long long)one->live);
  if (back) return psk_fail(client, kind, one->name, "%s; none is live", cause.reason);
  return psk_fail(client, kind, one->name, "%.500s; %s: promote one when all answer", cause.reason, shards);
}

// With the swap begun.
static int swap(penstock_client* client, post* one) {
  int status = psk_live_at_registry(client, one->name, &one->live);
  if (!status) status = note_lived(client, one);
  if (!status) status = psk_swap_keep(client, one->name);
  if (status) return status;
  return promote_everywhere(client, one, 0) ? go_back(client, one) : 0;
}

static int make_live(penstock_client* client, post* one) {
  int status = promote_everywhere(client, one, 1);
  if (!status) status = psk_swap_begin(client, one->name);
  if (status) return status;
  status = swap(client, one);
  psk_swap_end(client, one->name);
  return status;
}

int penstock_post_model(penstock_client* client, const char* name, const void* model, size_t size,
                        int64_t version, const char* device, const char* about, int promote) {
  post one = {name, model, size, version, 0, device ? device : "CPU", about ? about : "{}"};
  psk_begin(client, "put model", name);
  int status = check_post(client, &one);
  if (!status) status = psk_live_version(client, name, &one.live);
  if (!status && version <= one.live)
    status = psk_fail(client, PENSTOCK_MODEL_REJECTED, name,
                      "version %lld is not newer than the live version %lld", (long long)version,
                      (long long)one.live);
  if (!status) status = claim(client, &one);
  if (status) return status;
  status = store_everywhere(client, &one);
  if (status) {
    take_back(client, &one);
    return status;
  }
  status = record(client, &one);
  return status || !promote ? status : make_live(client, &one);
}

int penstock_put_model(penstock_client* client, const char* name, const void* model, size_t size,
                       int64_t version, const char* device) {
  return penstock_post_model(client, name, model, size, version, device, NULL, 1);
}

int penstock_promote_model(penstock_client* client, const char* name, int64_t version) {
  post one = {.name = name, .version = version};
  psk_begin(client, "promote model", name);
  int status = psk_check_name(client, "model", name);
  if (!status) status = check_version(client, name, version);
  return status ? status : make_live(client, &one);
}

// ---- What solvers say of a version

// Of a version that is there. The oldest one stays where it is NaN or infinite.
static const char kReport[] =
    "local entry = redis.call('HGET', KEYS[1], ARGV[1]) "
    "if not entry or entry:sub(1, 8) == 'removed ' or entry:sub(1, 11) == 'posting by ' then return 0 end "
    "redis.call('RPUSH', KEYS[2], ARGV[2]) "
    "if redis.call('LLEN', KEYS[2]) + ARGV[3] <= 0 then return 1 end "
    "local first = redis.call('LINDEX', KEYS[2], 0) "
    "redis.call('LTRIM', KEYS[2], ARGV[3], -1) "
    "if first:find('^-?[in]') then redis.call('LSET', KEYS[2], 0, first) end return 1";

int penstock_report_error(penstock_client* client, const char* name, double value, int64_t version) {
  char at[24], text[600];
  psk_begin(client, "report an error of", name);
  int status = psk_check_name(client, "model", name);
  if (!status) status = check_version(client, name, version);
  if (status) return status;
  snprintf(at, sizeof at, "%lld", (long long)version);
  snprintf(text, sizeof text, "%.17g %.400s %lld", value, client->producer, (long long)client->rank);
  psk_command_begin(client, 8, psk_reply_ignored, NULL)->only_once = 1;
  psk_word(client, "EVAL");
  psk_word(client, kReport);
  psk_word(client, "2");
  psk_key(client, "{", name, "}.versions", NULL);
  psk_word_joined(client, "{", name, "}.errors.", at, NULL);
  psk_word(client, at);
  psk_word(client, text);
  psk_word_number(client, -kReportsKept);
  return psk_run(client);
}

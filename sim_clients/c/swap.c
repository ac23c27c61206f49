// One program at a time changes which version of a model is live, or removes one: who does so holds the key
// {name}.swap, and others wait their turn. A holder that is killed is waited for until the key expires.
//
// sim_clients/redis_models.py does the same.

#include <stdio.h>
#include <string.h>

#include "internal.h"

static const double kFirst = 0.001, kLongest = 0.05;
static const int64_t kExpiryMs = 30000;
static const double kTurn = 60.0;  // s, that a program waits for at most, and
static const double kShare = 0.9;  // of what is left of its time-out: the rest is for the answers

// A full server refuses the first write of a script, but for one that only frees.
static const char kTake[] =
    "local held = redis.call('GET', KEYS[1]) "
    "if held and held ~= ARGV[1] then return 0 end "
    "redis.call('DEL', KEYS[1]) "
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";
static const char kKeep[] =
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "return redis.call('PEXPIRE', KEYS[1], ARGV[2])";
static const char kLeave[] =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1";

static int ask(penstock_client* client, const char* name, const char* script, int64_t* answer) {
  *answer = 0;
  psk_again(client);
  psk_command_begin(client, 6, psk_reply_integer, answer);
  psk_word(client, "EVAL");
  psk_word(client, script);
  psk_word(client, "1");
  psk_key(client, "{", name, "}.swap", NULL);
  psk_word(client, client->token);
  psk_word_number(client, kExpiryMs);
  return psk_run(client);
}

int psk_swap_begin(penstock_client* client, const char* name) {
  double begin = psk_now(), pause = kFirst;
  double most = kShare * (client->deadline - begin), until = begin + (most < kTurn ? most : kTurn);
  for (;;) {
    int64_t mine = 0;
    int status = ask(client, name, kTake, &mine);
    if (status || mine) return status;
    if (psk_now() >= until)
      return psk_fail(client, PENSTOCK_MODEL_REJECTED, name,
                      "other programs have been changing which version is live for %.1f s; try again",
                      psk_now() - begin);
    psk_pause(client, pause);
    if (client->interrupted) return psk_fail(client, PENSTOCK_INTERRUPTED, NULL, "ended by a signal");
    pause = pause * 2 < kLongest ? pause * 2 : kLongest;
  }
}

int psk_swap_keep(penstock_client* client, const char* name) {
  int64_t mine = 0;
  int status = ask(client, name, kKeep, &mine);
  if (status || mine) return status;
  return psk_fail(client, PENSTOCK_MODEL_REJECTED, name,
                  "it took longer than %lld s, and another program may change which version is live since",
                  (long long)kExpiryMs / 1000);
}

void psk_swap_end(penstock_client* client, const char* name) {
  int64_t left;
  psk_error kept = client->error;
  psk_ask_anew(client);
  (void)ask(client, name, kLeave, &left);  // it expires where this does not arrive
  client->error = kept;
}

// What the files of bounded streams share. See docs/streams.md.
//
//   flow.c       a snapshot gets its place, and is announced
//   removal.c    what goes from a stream: its data in all shards and its files
//   consumers.c  what has been acknowledged
//   forget.c     all of a stream goes
//   meter.c      bounds, and how full a stream is

#ifndef PENSTOCK_FLOW_H
#define PENSTOCK_FLOW_H

#include "internal.h"

// Names of datasets as they stand in a stream.
typedef struct psk_entries {
  char** of;
  int count;
} psk_entries;

void psk_free_entries(psk_entries* all);

// What the database answers about a stream.
typedef struct psk_answer {
  char word[16];        // go, skip, spill, remove
  char* directory;      // of spill
  int64_t upto;         // of remove: the position behind the last that goes, 0 where there is none to go
  psk_entries entries;  // of remove
} psk_answer;

void psk_free_answer(psk_answer* what);
// [go], [skip], [spill, directory] or [remove, upto, entries ...], with a psk_answer as context.
int psk_reply_answer(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token);

// Remove the data of these datasets from the shards they are in, and their files. What is not there any more
// is fine. `forget`: the directories too that are empty then.
int psk_remove_datasets(penstock_client* client, const char* stream, const psk_entries* all, int forget);
// Begin the command that says so; its reply names what is to be removed next.
void psk_say_freed(penstock_client* client, const char* stream, int64_t upto, psk_answer* next);
// Remove what an answer names, and what the answers to that name, until nothing is left.
int psk_remove_all(penstock_client* client, const char* stream, psk_answer* next);

#endif  // PENSTOCK_FLOW_H

// What goes from a stream: the database names the snapshots, and whoever is told so removes their data from
// the shards they are in, files too, and says that it has (PENSTOCK.FREED).

#include <stdlib.h>
#include <string.h>

#include "flow.h"

// ---- Answers

void psk_free_entries(psk_entries* all) {
  psk_free_strings(all->of, all->count);
  *all = (psk_entries){0};
}

void psk_free_answer(psk_answer* what) {
  free(what->directory);
  psk_free_entries(&what->entries);
  *what = (psk_answer){0};
}

static int read_text(penstock_client* client, psk_link* link, char** text) {
  psk_token token;
  int status = psk_next(client, link, &token);
  if (status) return status;
  if (token.kind != '$' || token.number < 0) return psk_garbage(client, link, "a text");
  *text = calloc(1, (size_t)token.number + 1);
  if (*text) return psk_body(client, link, &token, *text);
  status = psk_pass(client, link, &token);
  return status ? status : psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
}

static int read_removal(penstock_client* client, psk_link* link, int64_t elements, psk_answer* what) {
  psk_token token;
  psk_entries* all = &what->entries;
  int status = psk_next(client, link, &token);
  if (status) return status;
  if (token.kind != ':' || elements < 1) return psk_garbage(client, link, "a position");
  what->upto = token.number;
  all->of = calloc((size_t)elements, sizeof *all->of);
  if (!all->of) {
    client->hopeless = PSK_NO_MEMORY;
    return psk_link_broke(client, link, "no memory for names");
  }
  while (all->count < elements - 1) {
    status = read_text(client, link, &all->of[all->count]);
    if (status) return status;
    all->count++;
  }
  return 0;
}

int psk_reply_answer(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '*' || token->number < 1) return psk_garbage(client, link, "an answer about a stream");
  psk_answer* to = command->context;
  int64_t elements = token->number;
  psk_free_answer(to);
  psk_token word;
  int status = psk_next(client, link, &word);
  if (!status) status = psk_body_text(client, link, &word, to->word, sizeof to->word);
  if (status) return status;
  if (!strcmp(to->word, "remove")) return read_removal(client, link, elements - 1, to);
  if (!strcmp(to->word, "spill") && elements == 2) return read_text(client, link, &to->directory);
  return elements == 1 ? 0 : psk_garbage(client, link, "an answer about a stream");
}

// ---- Datasets

// What is kept about one: the names of its tensors, and where it was spilled to.
typedef struct content {
  psk_bytes names, spilled;
} content;

static int read_part(penstock_client* client, psk_link* link, psk_bytes* part) {
  psk_token text;
  int status = psk_next(client, link, &text);
  if (status) return status;
  part->used = 0;
  if (text.kind != '$') return psk_garbage(client, link, "a text");
  if (text.number < 0) return 0;
  free(part->at);
  *part = (psk_bytes){malloc((size_t)text.number + 1), 0, (size_t)text.number + 1};
  if (!part->at) {
    client->hopeless = PSK_NO_MEMORY;
    return psk_link_broke(client, link, "no memory for names");
  }
  status = psk_body(client, link, &text, part->at);
  if (!status) part->used = (size_t)text.number;
  return status;
}

// [names of tensors, where they were spilled to], each may be nil.
static int reply_content(penstock_client* client, psk_link* link, psk_command* command,
                         const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '*' || token->number != 2) return psk_garbage(client, link, "two texts");
  content* to = command->context;
  int status = read_part(client, link, &to->names);
  return status ? status : read_part(client, link, &to->spilled);
}

static int ask_contents(penstock_client* client, const psk_entries* all, content* contents) {
  psk_again(client);
  for (int i = 0; i < all->count; i++) {
    psk_command_begin(client, 4, reply_content, &contents[i]);
    psk_word(client, "HMGET");
    psk_key(client, all->of[i], ".meta", NULL);
    psk_word(client, PSK_TENSOR_NAMES);
    psk_word(client, PSK_SPILLED);
  }
  return all->count ? psk_run(client) : 0;
}

static int remove_files(penstock_client* client, const char* stream, const psk_entries* all,
                        const content* contents, int forget) {
  for (int i = 0; i < all->count; i++) {
    if (!contents[i].spilled.used) continue;
    char* name = psk_name_of(all->of[i]);
    if (!name) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for names");
    psk_remove_spilled(&contents[i].spilled, stream, name, forget);
    free(name);
  }
  return 0;
}

// One command for each dataset, its keys all in one shard: it goes as a whole.
static int unlink_all(penstock_client* client, const psk_entries* all, const content* contents) {
  psk_again(client);
  for (int i = 0; i < all->count; i++) {
    int count = 0;
    char** names = psk_packed_strings(&contents[i].names, &count);
    if (!names) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for names");
    psk_command_begin(client, 2 + count, psk_reply_ignored, NULL);
    psk_word(client, "UNLINK");
    psk_key(client, all->of[i], ".meta", NULL);
    for (int k = 0; k < count; k++) psk_word_joined(client, all->of[i], ".", names[k], NULL);
    psk_free_strings(names, count);
  }
  return all->count ? psk_run(client) : 0;
}

int psk_remove_datasets(penstock_client* client, const char* stream, const psk_entries* all, int forget) {
  content* contents = calloc((size_t)all->count + 1, sizeof *contents);
  if (!contents) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for names");
  int status = ask_contents(client, all, contents);
  if (!status) status = remove_files(client, stream, all, contents, forget);
  if (!status) status = unlink_all(client, all, contents);
  for (int i = 0; i < all->count; i++) {
    free(contents[i].names.at);
    free(contents[i].spilled.at);
  }
  free(contents);
  return status;
}

// ---- What a stream lets go

void psk_say_freed(penstock_client* client, const char* stream, int64_t upto, psk_answer* next) {
  psk_command_begin(client, 3, psk_reply_answer, next);
  psk_word(client, "PENSTOCK.FREED");
  psk_key(client, stream, NULL);
  psk_word_number(client, upto);
}

int psk_remove_all(penstock_client* client, const char* stream, psk_answer* next) {
  int status = 0;
  while (!status && next->upto > 0) {
    int64_t upto = next->upto;
    status = psk_remove_datasets(client, stream, &next->entries, 0);
    if (status) break;
    psk_again(client);
    psk_say_freed(client, stream, upto, next);
    status = psk_run(client);
  }
  return status;
}

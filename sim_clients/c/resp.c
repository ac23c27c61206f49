// Redis' protocol, version 2: commands as lists of parts, replies as tokens.
//
// A command's words go as text into one growing buffer, larger values stay where they are. A reply is read
// token by token, so that whoever knows what comes decides where it goes.

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { kCopied = 512, kDeepest = 16 };

int psk_append(psk_bytes* bytes, const void* from, size_t length) {
  if (length > bytes->room - bytes->used) {
    size_t room = bytes->room ? 2 * bytes->room : 1024;
    while (room < bytes->used + length) room *= 2;
    char* bigger = realloc(bytes->at, room);
    if (!bigger) return PENSTOCK_MEMORY;
    bytes->at = bigger;
    bytes->room = room;
  }
  memcpy(bytes->at + bytes->used, from, length);
  bytes->used += length;
  return 0;
}

// ---- Commands

static psk_part* new_part(penstock_client* client) {
  if (client->n_parts == client->room_parts) {
    int room = client->room_parts ? 2 * client->room_parts : 32;
    psk_part* bigger = realloc(client->parts, (size_t)room * sizeof *bigger);
    if (!bigger) {
      client->no_memory = 1;
      return NULL;
    }
    client->parts = bigger;
    client->room_parts = room;
  }
  psk_part* part = &client->parts[client->n_parts++];
  *part = (psk_part){0};
  return part;
}

// Text goes into the part before it where that is text of the same command.
static void add_text(penstock_client* client, const void* text, size_t length) {
  size_t offset = client->text.used;
  if (psk_append(&client->text, text, length)) {
    client->no_memory = 1;
    return;
  }
  psk_command* command = &client->commands[client->n_commands - 1];
  psk_part* last = client->n_parts > command->first_part ? &client->parts[client->n_parts - 1] : NULL;
  if (last && !last->memory && !last->strided) {
    last->length += length;
    return;
  }
  psk_part* part = new_part(client);
  if (part) {
    part->offset = offset;
    part->length = length;
  }
}

static void add_head(penstock_client* client, char kind, size_t number) {
  char text[24], *end = text + sizeof text, *at = end;
  *--at = '\n';
  *--at = '\r';
  do *--at = (char)('0' + number % 10);
  while (number /= 10);
  *--at = kind;
  add_text(client, at, (size_t)(end - at));
}

static void end_word(penstock_client* client) {
  add_text(client, "\r\n", 2);
  if (--client->words_left == 0 && client->n_commands)
    client->commands[client->n_commands - 1].last_part = client->n_parts;
}

psk_command* psk_command_begin(penstock_client* client, int words, psk_reply reply, void* context) {
  if (client->n_commands == client->room_commands) {
    int room = client->room_commands ? 2 * client->room_commands : 16;
    psk_command* bigger = realloc(client->commands, (size_t)room * sizeof *bigger);
    if (!bigger) {
      client->no_memory = 1;  // psk_run says so; until then the last one is overwritten
      client->n_commands--;
    } else {
      client->commands = bigger;
      client->room_commands = room;
    }
  }
  psk_command* command = &client->commands[client->n_commands++];
  *command = (psk_command){.first_part = client->n_parts,
                           .last_part = client->n_parts,
                           .slot = -1,
                           .reply = reply,
                           .context = context};
  client->words_left = words;
  add_head(client, '*', (size_t)words);
  return command;
}

void psk_word_bytes(penstock_client* client, const void* bytes, size_t length) {
  add_head(client, '$', length);
  add_text(client, bytes, length);
  end_word(client);
}

void psk_word(penstock_client* client, const char* text) { psk_word_bytes(client, text, strlen(text)); }

void psk_word_number(penstock_client* client, int64_t number) {
  char text[24];
  psk_word_bytes(client, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)number));
}

static size_t joined(penstock_client* client, va_list texts) {
  va_list again;
  va_copy(again, texts);
  size_t length = 0;
  for (const char* text; (text = va_arg(again, const char*));) length += strlen(text);
  va_end(again);
  add_head(client, '$', length);
  size_t begin = client->text.used;
  for (const char* text; (text = va_arg(texts, const char*));)
    if (*text) add_text(client, text, strlen(text));
  end_word(client);
  return begin;
}

void psk_word_joined(penstock_client* client, ...) {
  va_list texts;
  va_start(texts, client);
  joined(client, texts);
  va_end(texts);
}

static void set_slot(penstock_client* client, size_t begin) {
  if (!client->cluster.on || client->no_memory) return;
  client->commands[client->n_commands - 1].slot =
      psk_slot(client->text.at + begin, client->text.used - begin - 2);
}

void psk_key(penstock_client* client, ...) {
  va_list texts;
  va_start(texts, client);
  size_t begin = joined(client, texts);
  va_end(texts);
  set_slot(client, begin);
}

void psk_word_model(penstock_client* client, const char* tag, const char* name, int64_t version, int is_key) {
  char at[24] = "";
  if (version > 0) snprintf(at, sizeof at, "@%lld", (long long)version);
  add_head(client, '$', (tag ? 5 : 0) + strlen(name) + strlen(at));
  size_t begin = client->text.used;
  if (tag) {  // its bytes may be any
    add_text(client, "{", 1);
    add_text(client, tag, 2);
    add_text(client, "}.", 2);
  }
  add_text(client, name, strlen(name));
  add_text(client, at, strlen(at));
  end_word(client);
  if (is_key) set_slot(client, begin);
}

void psk_word_memory(penstock_client* client, const void* memory, size_t length) {
  if (length <= kCopied) {
    psk_word_bytes(client, memory, length);
    return;
  }
  add_head(client, '$', length);
  psk_part* part = new_part(client);
  if (part) {
    part->memory = memory;
    part->length = length;
  }
  end_word(client);
}

void psk_word_array(penstock_client* client, const penstock_array* array) {
  size_t length = psk_nbytes(array->dtype, array->rank, array->dims);
  psk_walk walk;
  psk_walk_over(&walk, array);
  if (psk_walk_is_plain(&walk)) {
    psk_word_memory(client, array->data, length);
    return;
  }
  add_head(client, '$', length);
  psk_part* part = new_part(client);
  if (part) {
    part->strided = array;
    part->length = length;
  }
  end_word(client);
}

// ---- Replies

int psk_garbage(penstock_client* client, psk_link* link, const char* expected) {
  client->hopeless = PSK_NO_REDIS;
  char shown[25] = "";
  for (size_t i = 0; i + 1 < sizeof shown && link->start + i < link->end; i++) {
    char c = link->in[link->start + i];
    shown[i] = (char)(c >= 32 && c < 127 ? c : '?');
  }
  return psk_link_broke(client, link, "it does not speak Redis' protocol: expected %s before '%s'", expected,
                        shown);
}

static int parse_number(const char* text, size_t length, int64_t* number) {
  size_t i = length > 1 && text[0] == '-';
  int negative = i > 0;
  if (i == length || length > 19) return -1;
  int64_t value = 0;
  for (; i < length; i++) {
    if (text[i] < '0' || text[i] > '9') return -1;
    if (value > (INT64_MAX - 9) / 10) return -1;
    value = 10 * value + (text[i] - '0');
  }
  *number = negative ? -value : value;
  return 0;
}

int psk_next(penstock_client* client, psk_link* link, psk_token* token) {
  const char* line;
  size_t length;
  int status = psk_link_line(client, link, &line, &length);
  if (status) return status;
  *token = (psk_token){.kind = length ? line[0] : '\0', .text = line + 1, .length = length - 1};
  switch (token->kind) {
    case '+':
    case '-':
      return 0;
    case ':':
      if (!parse_number(line + 1, length - 1, &token->number)) return 0;
      break;
    case '$':
    case '*':
      if (!parse_number(line + 1, length - 1, &token->number) && token->number >= -1) return 0;
      break;
    default:
      break;
  }
  link->start -= length + 2;  // to show it
  return psk_garbage(client, link, "a reply");
}

static int end_of_bulk(penstock_client* client, psk_link* link) {
  char end[2];
  int status = psk_link_read(client, link, end, 2);
  if (!status && (end[0] != '\r' || end[1] != '\n')) status = psk_garbage(client, link, "the end of a bulk");
  return status;
}

int psk_body(penstock_client* client, psk_link* link, const psk_token* token, void* to) {
  int status = psk_link_read(client, link, to, (size_t)token->number);
  return status ? status : end_of_bulk(client, link);
}

int psk_body_text(penstock_client* client, psk_link* link, const psk_token* token, char* to, size_t room) {
  if (token->kind != '$') return psk_garbage(client, link, "a text");
  size_t length = token->number > 0 ? (size_t)token->number : 0;
  size_t taken = length < room ? length : room - 1;
  to[taken] = '\0';
  if (token->number < 0) return 0;
  int status = psk_link_read(client, link, to, taken);
  if (!status) status = psk_link_skip(client, link, length - taken);
  return status ? status : end_of_bulk(client, link);
}

// Pass over what is left of a reply whose first token has been read.
static int pass(penstock_client* client, psk_link* link, const psk_token* token, int depth) {
  if (token->kind == '$' && token->number >= 0) {
    int status = psk_link_skip(client, link, (size_t)token->number);
    return status ? status : end_of_bulk(client, link);
  }
  if (token->kind != '*') return 0;
  if (depth > kDeepest) return psk_garbage(client, link, "a reply that is less deep");
  for (int64_t i = 0; i < token->number; i++) {
    psk_token inner;
    int status = psk_next(client, link, &inner);
    if (!status) status = pass(client, link, &inner, depth + 1);
    if (status) return status;
  }
  return 0;
}

int psk_pass(penstock_client* client, psk_link* link, const psk_token* token) {
  return pass(client, link, token, 0);
}

static int unexpected(penstock_client* client, psk_link* link, const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  char kind = token->kind;
  int status = psk_pass(client, link, token);
  return status ? status : psk_fail(client, PENSTOCK_REFUSED, NULL, "an answer of another kind, '%c'", kind);
}

int psk_reply_ok(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  (void)command;
  return token->kind == '+' || token->kind == ':' ? 0 : unexpected(client, link, token);
}

int psk_reply_integer(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  if (token->kind != ':') return unexpected(client, link, token);
  *(int64_t*)command->context = token->number;
  return 0;
}

int psk_reply_text(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  if (token->kind != '$') return psk_garbage(client, link, "a name");
  char** text = command->context;
  free(*text);
  *text = NULL;
  if (token->number < 0) return 0;
  *text = calloc(1, (size_t)token->number + 1);
  if (*text) return psk_body(client, link, token, *text);
  int status = psk_pass(client, link, token);
  return status ? status : psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for a name");
}

int psk_reply_ignored(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  (void)command;
  if (token->kind == '-') return psk_refused(client, token->text, token->length);
  return token->kind == '$' ? psk_pass(client, link, token) : 0;
}

// Tensors: AI.TENSORSET and AI.TENSORGET.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

static const char kNoTensor[] = "ERR tensor key is empty";

int psk_count_tensor_words(const penstock_array* array) { return array->rank + 3; }

void psk_tensor_words(penstock_client* client, const penstock_array* array) {
  psk_word(client, psk_wire_dtype(array->dtype));
  for (int i = 0; i < array->rank; i++) psk_word_number(client, array->dims[i]);
  psk_word(client, "BLOB");
  psk_word_array(client, array);
}

// ---- Reading

int psk_read_shape(penstock_client* client, psk_link* link, penstock_info* info) {
  psk_token token;
  int status = psk_next(client, link, &token);
  if (status) return status;
  if (token.kind != '*' || token.number < 0 || token.number > PENSTOCK_MAX_RANK)
    return psk_garbage(client, link, "a shape");
  info->rank = (int)token.number;
  for (int i = 0; i < info->rank; i++) {
    status = psk_next(client, link, &token);
    if (status) return status;
    if (token.kind != ':' || token.number < 0) return psk_garbage(client, link, "a dimension");
    info->dims[i] = token.number;
  }
  return 0;
}

static int differs(const penstock_array* array, const penstock_info* info) {
  if (array->dtype != info->dtype || array->rank != info->rank) return 1;
  for (int i = 0; i < info->rank; i++)
    if (array->dims[i] != info->dims[i]) return 1;
  return 0;
}

static int read_strided(penstock_client* client, psk_link* link, const penstock_array* array, size_t left) {
  if (!link->stage && !(link->stage = malloc(PSK_STAGE_BYTES))) {
    client->hopeless = PSK_NO_MEMORY;
    return psk_link_broke(client, link, "no memory for %zu bytes", PSK_STAGE_BYTES);
  }
  psk_walk walk;
  psk_walk_over(&walk, array);
  while (left > 0) {
    size_t piece = left < PSK_STAGE_BYTES ? left : PSK_STAGE_BYTES;
    int status = psk_link_read(client, link, link->stage, piece);
    if (status) return status;
    psk_scatter(&walk, link->stage, piece);
    left -= piece;
  }
  return psk_link_skip(client, link, 2);
}

// Read the body away and say why.
static int refuse(penstock_client* client, psk_link* link, const psk_token* token, const psk_sink* sink,
                  const char* reason) {
  int status = psk_pass(client, link, token);
  return status ? status : psk_fail(client, PENSTOCK_TENSOR, sink->name, "%s", reason);
}

int psk_does_not_fit(penstock_client* client, const psk_sink* sink, const penstock_info* info) {
  char there[256], ours[256];
  if (!sink->array || !differs(sink->array, info)) return 0;
  psk_describe(there, sizeof there, info->dtype, info->rank, info->dims);
  psk_describe(ours, sizeof ours, sink->array->dtype, sink->array->rank, sink->array->dims);
  return psk_fail(client, PENSTOCK_TENSOR, sink->name, "the database has %s, the array to be filled is %s",
                  there, ours);
}

int psk_read_blob(penstock_client* client, psk_link* link, psk_sink* sink, const psk_header* head,
                  const psk_token* token) {
  const penstock_info* info = &head->info;
  char there[256], reason[640];
  if (!info->dtype) {
    snprintf(reason, sizeof reason, "the database has it as %s, which this client cannot read", head->dtype);
    return refuse(client, link, token, sink, reason);
  }
  if (token->number != (int64_t)info->nbytes)
    return psk_garbage(client, link, "as many bytes as the shape has");
  psk_describe(there, sizeof there, info->dtype, info->rank, info->dims);
  if (sink->array && differs(sink->array, info)) {
    int status = psk_pass(client, link, token);
    return status ? status : psk_does_not_fit(client, sink, info);
  }
  if (!sink->array) {
    void* to = sink->place(sink->context, sink->name, info);
    if (to) return psk_body(client, link, token, to);
    snprintf(reason, sizeof reason, "no memory was given for %s", there);
    int status = psk_pass(client, link, token);
    return status ? status : psk_fail(client, PENSTOCK_MEMORY, sink->name, "%s", reason);
  }
  psk_walk walk;
  psk_walk_over(&walk, sink->array);
  if (psk_walk_is_plain(&walk)) return psk_body(client, link, token, sink->array->data);
  return read_strided(client, link, sink->array, info->nbytes);
}

// What stands under one of the words of the answer.
static int read_entry(penstock_client* client, psk_link* link, const char* key, psk_sink* sink,
                      psk_header* head) {
  if (!strcmp(key, "shape")) {
    int status = psk_read_shape(client, link, &head->info);
    if (!status) head->info.nbytes = psk_nbytes(head->info.dtype, head->info.rank, head->info.dims);
    return status;
  }
  psk_token token;
  int status = psk_next(client, link, &token);
  if (status) return status;
  if (!strcmp(key, "dtype")) {
    status = psk_body_text(client, link, &token, head->dtype, sizeof head->dtype);
    head->info.dtype = psk_dtype_of_wire(head->dtype);
    return status;
  }
  if (strcmp(key, "blob") || token.kind != '$' || token.number < 0)
    return psk_garbage(client, link, "a tensor's bytes");
  return sink ? psk_read_blob(client, link, sink, head, &token) : psk_pass(client, link, &token);
}

static int read_entries(penstock_client* client, psk_link* link, psk_sink* sink, const psk_token* token,
                        psk_header* head) {
  if (token->kind != '*') return psk_garbage(client, link, "a tensor");
  int64_t pairs = token->number / 2;
  int status = 0;
  for (int64_t i = 0; i < pairs && status != PSK_BROKEN; i++) {
    char key[16];
    psk_token next;
    int now = psk_next(client, link, &next);
    if (!now) now = psk_body_text(client, link, &next, key, sizeof key);
    if (!now) now = read_entry(client, link, key, sink, head);
    if (now) status = now;
  }
  return status;
}

int psk_read_tensor(penstock_client* client, psk_link* link, psk_sink* sink, const psk_token* token) {
  psk_header head = {0};
  int status = read_entries(client, link, sink, token, &head);
  if (sink->info) *sink->info = head.info;
  return status;
}

// Whether the answer is an error; then *status is what to return.
static int is_error(penstock_client* client, const psk_token* token, const char* name, int* status) {
  if (token->kind != '-') return 0;
  *status = psk_begins(token, kNoTensor)
                ? psk_fail(client, PENSTOCK_KEY_MISSING, name, "there is no tensor of this name")
                : psk_refused(client, token->text, token->length);
  return 1;
}

int psk_tensor_error(penstock_client* client, const psk_token* token, psk_sink* sink, int* status) {
  *status = 0;
  if (token->kind == '-' && psk_begins(token, kNoTensor) && sink->may_miss) return sink->missing = 1;
  return is_error(client, token, sink->name, status);
}

int psk_reply_tensor(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  psk_sink* sink = command->context;
  int status;
  if (psk_tensor_error(client, token, sink, &status)) return status;
  return psk_read_tensor(client, link, sink, token);
}

static int reply_info(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  int status;
  if (is_error(client, token, client->subject, &status)) return status;
  psk_header head = {0};
  status = read_entries(client, link, NULL, token, &head);
  if (!status && !head.info.dtype)
    status = psk_fail(client, PENSTOCK_TENSOR, client->subject,
                      "the database has it as %s, which this client cannot read", head.dtype);
  *(penstock_info*)command->context = head.info;
  return status;
}

// ---- The calls

int penstock_put_tensor(penstock_client* client, const char* name, const penstock_array* array) {
  psk_begin(client, "put tensor", name);
  int status = psk_check_name(client, "tensor", name);
  if (!status) status = psk_check_array(client, name, array);
  if (status) return status;
  const char *prefix = client->written, *dot = psk_dot(client->written);
  psk_put put;
  psk_put_of(&put, name, array);
  do {
    status = psk_puts_prepare(client, psk_shared_link(client, prefix, dot, name), &put, 1, 1);
    if (status) break;
    psk_put_command(client, &put, prefix, dot, name);
    status = psk_run(client);
  } while (!status && psk_puts_again(&put, 1));
  psk_puts_end(&put, 1);
  return status;
}

int psk_get_tensor(penstock_client* client, const char* name, psk_sink* sink) {
  int status;
  sink->name = name;
  do {
    psk_again(client);
    psk_get_command(client, sink, client->read, psk_dot(client->read), name);
    status = psk_get_all(client);
  } while (!status && sink->again);
  return status;
}

int penstock_get_tensor(penstock_client* client, const char* name, const penstock_array* array) {
  psk_begin(client, "get tensor", name);
  int status = psk_check_name(client, "tensor", name);
  if (!status) status = psk_check_array(client, name, array);
  return status ? status : psk_get_tensor(client, name, &(psk_sink){.array = array});
}

int penstock_get_tensor_to(penstock_client* client, const char* name, penstock_place place, void* context) {
  psk_begin(client, "get tensor", name);
  int status = psk_check_name(client, "tensor", name);
  if (!status && !place) status = psk_fail(client, PENSTOCK_INVALID, name, "no function gives it a place");
  return status ? status : psk_get_tensor(client, name, &(psk_sink){.place = place, .context = context});
}

typedef struct fresh {
  penstock_info* info;
  void* data;
} fresh;

static void* allocate(void* context, const char* name, const penstock_info* info) {
  (void)name;
  fresh* made = context;
  *made->info = *info;
  free(made->data);  // of an attempt that broke off
  return made->data = malloc(info->nbytes ? info->nbytes : 1);
}

int penstock_get_tensor_new(penstock_client* client, const char* name, penstock_info* info, void** data) {
  penstock_info found = {0};
  fresh made = {&found, NULL};
  int status = penstock_get_tensor_to(client, name, allocate, &made);
  if (!status && (!info || !data))
    status = psk_fail(client, PENSTOCK_INVALID, name, "info and data must not be NULL");
  if (status) {
    free(made.data);
    return status;
  }
  *info = found;
  *data = made.data;
  return 0;
}

void penstock_free(void* data) { free(data); }

int penstock_tensor_info(penstock_client* client, const char* name, penstock_info* info) {
  psk_begin(client, "get the shape of tensor", name);
  int status = psk_check_name(client, "tensor", name);
  if (status) return status;
  psk_command_begin(client, 3, reply_info, info);
  psk_word(client, "AI.TENSORGET");
  psk_key(client, client->read, psk_dot(client->read), name, NULL);
  psk_word(client, "META");
  return psk_run(client);
}

static int on_key(penstock_client* client, const char* command, const char* doing, const char* name,
                  int64_t* answer) {
  psk_begin(client, doing, name);
  int status = psk_check_name(client, "tensor", name);
  if (status) return status;
  psk_command_begin(client, 2, psk_reply_integer, answer);
  psk_word(client, command);
  psk_key(client, client->read, psk_dot(client->read), name, NULL);
  return psk_run(client);
}

int penstock_tensor_exists(penstock_client* client, const char* name, int* exists) {
  int64_t count = 0;
  int status = on_key(client, "EXISTS", "look for tensor", name, &count);
  if (!status) *exists = count > 0;
  return status;
}

int penstock_delete_tensor(penstock_client* client, const char* name) {
  int64_t count = 0;
  return on_key(client, "UNLINK", "delete tensor", name, &count);
}

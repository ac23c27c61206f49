// Models: which version is live, and runs on one shard; post.c stores them on all.
//
// In a cluster SmartRedis keeps a model once in each range of slots, as `{xx}.name`, and so it is found by
// both. A run is one AI.DAGEXECUTE_RO, which sets the inputs, runs the model and gets the outputs under names
// that only it knows: it stores nothing, and may be sent again.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static const char kTraceback[] = " (The following operation failed in the TorchScript interpreter";

int psk_places(const penstock_client* client) { return client->cluster.on ? client->cluster.n_ranges : 1; }

const char* psk_place_tag(const penstock_client* client, int place) {
  return client->cluster.on ? client->cluster.ranges[place].tag : NULL;
}

static int has(const psk_token* token, const char* text) {
  return memmem(token->text, token->length, text, strlen(text)) != NULL;
}

// ---- The live version

typedef struct live {
  int64_t version;  // 0: there is no model
  const char* name;
} live;

static int take_version(penstock_client* client, live* found, const char* tag) {
  if (*tag && strspn(tag, "0123456789") == strlen(tag) && strlen(tag) <= 18) {
    found->version = strtoll(tag, NULL, 10);
    return 0;
  }
  return psk_fail(client, PENSTOCK_MODEL_REJECTED, found->name,
                  "its tag '%s' is not a version; it was not posted by put_model", tag);
}

static int reply_live(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  live* found = command->context;
  found->version = 0;
  if (token->kind == '-')
    return has(token, "cannot find run info") ? 0 : psk_refused(client, token->text, token->length);
  if (token->kind != '*') return psk_garbage(client, link, "what is known of a model");
  char tag[256] = "";
  int64_t pairs = token->number / 2;
  for (int64_t i = 0; i < pairs; i++) {
    char key[32];
    psk_token next;
    int status = psk_next(client, link, &next);
    if (!status) status = psk_body_text(client, link, &next, key, sizeof key);
    if (!status) status = psk_next(client, link, &next);
    if (!status)
      status = strcmp(key, "tag") ? psk_pass(client, link, &next)
                                  : psk_body_text(client, link, &next, tag, sizeof tag);
    if (status) return status;
  }
  return take_version(client, found, tag);
}

int psk_live_at(penstock_client* client, const char* name, int place, int64_t* version) {
  live found = {0, name};
  psk_again(client);
  psk_command_begin(client, 2, reply_live, &found);
  psk_word(client, "AI.INFO");
  psk_word_model(client, psk_place_tag(client, place), name, 0, 1);
  int status = psk_run(client);
  *version = found.version;
  return status;
}

int psk_live_version(penstock_client* client, const char* name, int64_t* version) {
  return psk_live_at(client, name, 0, version);
}

int psk_live_at_registry(penstock_client* client, const char* name, int64_t* version) {
  int slot = psk_slot(name, strlen(name)), place = 0;
  for (int i = 0; i < psk_places(client); i++)
    if (client->cluster.on && client->cluster.ranges[i].low <= slot && slot <= client->cluster.ranges[i].high)
      place = i;
  return psk_live_at(client, name, place, version);
}

int penstock_model_version(penstock_client* client, const char* name, int64_t* version) {
  psk_begin(client, "ask for the version of", name);
  int status = psk_check_name(client, "model", name);
  int64_t found = 0;
  if (!status) status = psk_live_version(client, name, &found);
  if (!status && found == 0)
    status = psk_fail(client, PENSTOCK_MODEL_MISSING, name, "no model '%s' yet", name);
  if (!status) *version = found;
  return status;
}

// ---- Running

typedef struct run {
  const char* name;
  int64_t version;
  const penstock_array* inputs;
  int n_inputs;
  psk_sink* outputs;
  int n_outputs;
  int64_t* answered;  // not NULL: set to the version that has answered
} run;

// What was given, as the last words of an error: it is nearly always the shape.
static void describe_inputs(const run* one, char* text, size_t room) {
  size_t used = 0;
  *text = '\0';
  for (int i = 0; i < one->n_inputs && used + 2 < room; i++) {
    char shown[160];
    const penstock_array* array = &one->inputs[i];
    psk_describe(shown, sizeof shown, array->dtype, array->rank, array->dims);
    int n = snprintf(text + used, room - used, "%s%s", i ? ", " : "", shown);
    used += (size_t)n;
  }
}

static int failed(penstock_client* client, const run* one, const psk_token* token) {
  if (has(token, "model key is empty")) {
    if (one->version > 0)
      return psk_fail(client, PENSTOCK_MODEL_MISSING, one->name, "no version %lld of the model '%s'",
                      (long long)one->version, one->name);
    return psk_fail(client, PENSTOCK_MODEL_MISSING, one->name, "no model '%s' yet", one->name);
  }
  const char* text = token->text;
  size_t length = token->length;
  const char* traceback = memmem(text, length, kTraceback, sizeof kTraceback - 1);
  if (traceback) length = (size_t)(traceback - text);
  if (length > 4 && !memcmp(text, "ERR ", 4)) text += 4, length -= 4;
  char given[512], key[400];
  describe_inputs(one, given, sizeof given);
  snprintf(key, sizeof key, one->version > 0 ? "%.350s@%lld" : "%.350s", one->name, (long long)one->version);
  return psk_fail(client, PENSTOCK_INFERENCE, key, "%.*s; given was %s", (int)length, text, given);
}

static int read_answered(penstock_client* client, psk_link* link, const run* one, const psk_token* token) {
  char tag[256] = "";
  live found = {0, one->name};
  if (token->kind != '$') return psk_garbage(client, link, "the version of a model");
  int status = psk_body_text(client, link, token, tag, sizeof tag);
  if (!status) status = take_version(client, &found, tag);
  if (!status) *one->answered = found.version;
  return status;
}

// One entry for each step: inputs set, the model run, outputs got, and what the version is.
static int reply_run(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token) {
  const run* one = command->context;
  if (token->kind == '-') return failed(client, one, token);
  if (token->kind == '+') {
    psk_token over = {.text = "its time was over before it was run", .length = 35};
    return failed(client, one, &over);
  }
  int steps = one->n_inputs + 1 + one->n_outputs + (one->answered != NULL);
  if (token->kind != '*' || token->number != steps) return psk_garbage(client, link, "the answers to a run");
  int status = 0;
  for (int i = 0; i < steps && status != PSK_BROKEN; i++) {
    int output = i - one->n_inputs - 1;
    psk_token entry;
    int now = psk_next(client, link, &entry);
    if (!now && entry.kind == '-')
      now = failed(client, one, &entry);
    else if (!now && output == one->n_outputs)
      now = entry.kind == '+' ? psk_pass(client, link, &entry) : read_answered(client, link, one, &entry);
    else if (!now && output >= 0 && entry.kind == '*')
      now = psk_read_tensor(client, link, &one->outputs[output], &entry);
    else if (!now)
      now = psk_pass(client, link, &entry);  // OK, or NA behind an error
    if (now) status = now;
  }
  return status;
}

static void local_name(char* text, size_t room, char kind, int i) { snprintf(text, room, "%c%d", kind, i); }

static void add_names(penstock_client* client, const char* word, char kind, int count) {
  psk_word(client, word);
  psk_word_number(client, count);
  for (int i = 0; i < count; i++) {
    char name[16];
    local_name(name, sizeof name, kind, i);
    psk_word(client, name);
  }
}

static void add_input(penstock_client* client, int i, const penstock_array* array) {
  char name[16];
  local_name(name, sizeof name, 'i', i);
  psk_word(client, "|>");
  psk_word(client, "AI.TENSORSET");
  psk_word(client, name);
  psk_tensor_words(client, array);
}

static int send_run(penstock_client* client, const run* one) {
  // Ranks and members spread over the shards.
  int place = (int)((uint64_t)(client->rank + getpid()) % (uint64_t)psk_places(client));
  const char* tag = psk_place_tag(client, place);
  int words = 3 + 7 + one->n_inputs + one->n_outputs;
  for (int i = 0; i < one->n_inputs; i++) words += 3 + psk_count_tensor_words(&one->inputs[i]);
  if (one->answered) words += 3;
  psk_command_begin(client, words + 5 * one->n_outputs, reply_run, (void*)(uintptr_t)one);
  psk_word(client, "AI.DAGEXECUTE_RO");
  psk_word(client, "ROUTING");
  psk_word_model(client, tag, one->name, one->version, 1);
  for (int i = 0; i < one->n_inputs; i++) add_input(client, i, &one->inputs[i]);
  psk_word(client, "|>");
  psk_word(client, "AI.MODELEXECUTE");
  psk_word_model(client, tag, one->name, one->version, 0);
  add_names(client, "INPUTS", 'i', one->n_inputs);
  add_names(client, "OUTPUTS", 'o', one->n_outputs);
  for (int i = 0; i < one->n_outputs; i++) {
    char name[16];
    local_name(name, sizeof name, 'o', i);
    psk_word(client, "|>");
    psk_word(client, "AI.TENSORGET");
    psk_word(client, name);
    psk_word(client, "META");
    psk_word(client, "BLOB");
  }
  if (one->answered) {
    psk_word(client, "|>");
    psk_word(client, "PENSTOCK.TAG");
    psk_word_model(client, tag, one->name, one->version, 0);
  }
  return psk_run(client);
}

static int check_run(penstock_client* client, const run* one) {
  psk_begin(client, "run model", one->name);
  int status = psk_check_name(client, "model", one->name);
  if (!status && one->version < 0)
    status = psk_fail(client, PENSTOCK_MODEL_REJECTED, one->name,
                      "a version is a whole number, 1 or greater, got %lld", (long long)one->version);
  if (!status && (one->n_inputs < 1 || !one->inputs))
    status = psk_fail(client, PENSTOCK_TENSOR, one->name, "a model needs at least one input");
  if (!status && one->n_outputs < 1)
    status = psk_fail(client, PENSTOCK_TENSOR, one->name, "a model has at least one output");
  for (int i = 0; !status && i < one->n_inputs; i++) {
    char label[400];
    snprintf(label, sizeof label, "input %d of %.350s", i, one->name);
    status = psk_check_array(client, label, &one->inputs[i]);
  }
  return status;
}

// `outputs` NULL: to where `place` says.
static int infer(penstock_client* client, run* one, const penstock_array* outputs, psk_sink place) {
  char (*labels)[24] = NULL;
  int status = check_run(client, one);
  if (status) return status;
  one->outputs = calloc((size_t)one->n_outputs, sizeof *one->outputs);
  labels = calloc((size_t)one->n_outputs, sizeof *labels);
  if (!one->outputs || !labels)
    status = psk_fail(client, PENSTOCK_MEMORY, one->name, "no memory for the outputs");
  for (int i = 0; !status && i < one->n_outputs; i++) {
    snprintf(labels[i], sizeof labels[i], outputs ? "output %d" : "%d", i);
    if (outputs) status = psk_check_array(client, labels[i], &outputs[i]);
    one->outputs[i] = place;
    one->outputs[i].array = outputs ? &outputs[i] : NULL;
    one->outputs[i].name = labels[i];
  }
  if (!status) status = send_run(client, one);
  free(labels);
  free(one->outputs);
  return status;
}

int penstock_infer(penstock_client* client, const char* name, int64_t version, const penstock_array* inputs,
                   int n_inputs, const penstock_array* outputs, int n_outputs) {
  run one = {name, version, inputs, n_inputs, NULL, outputs ? n_outputs : 0, NULL};
  return infer(client, &one, outputs, (psk_sink){0});
}

int penstock_infer_to(penstock_client* client, const char* name, int64_t version,
                      const penstock_array* inputs, int n_inputs, int n_outputs, penstock_place place,
                      void* context) {
  run one = {name, version, inputs, n_inputs, NULL, place ? n_outputs : 0, NULL};
  return infer(client, &one, NULL, (psk_sink){.place = place, .context = context});
}

int penstock_infer_versioned(penstock_client* client, const char* name, const penstock_array* inputs,
                             int n_inputs, const penstock_array* outputs, int n_outputs, int64_t* version) {
  run one = {name, 0, inputs, n_inputs, NULL, outputs ? n_outputs : 0, version};
  return infer(client, &one, outputs, (psk_sink){0});
}

int penstock_infer_versioned_to(penstock_client* client, const char* name, const penstock_array* inputs,
                                int n_inputs, int n_outputs, penstock_place place, void* context,
                                int64_t* version) {
  run one = {name, 0, inputs, n_inputs, NULL, place ? n_outputs : 0, version};
  return infer(client, &one, NULL, (psk_sink){.place = place, .context = context});
}

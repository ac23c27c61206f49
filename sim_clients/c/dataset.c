// Datasets: tensors and metadata under one name, as SmartRedis lays them out, and the lists they are named
// in.
//
//   {name}.meta      a hash: .tensor_names, the lists of metadata, and .COMPLETE, which is written last
//   {name}.<tensor>  each tensor; the braces keep all of a dataset in one shard

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

typedef struct tensor {
  char* name;
  penstock_array array;
  int64_t dims[PENSTOCK_MAX_RANK];
  int64_t strides[PENSTOCK_MAX_RANK];
  void* owned;  // NULL: the caller's
} tensor;

struct penstock_dataset {
  penstock_client* client;
  char* name;
  tensor** tensors;
  int count;
  psk_metadata_list metadata;
  char** answer;  // what was last asked for: strings, or numbers as one block
  int n_answer;
};

char* psk_entry(penstock_client* client, const char* prefix, const char* name) {
  size_t room = strlen(prefix) + strlen(name) + 4;
  char* entry = malloc(room);
  if (entry)
    snprintf(entry, room, "%s%s{%s}", prefix, psk_dot(prefix), name);
  else
    psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a name");
  return entry;
}

// ---- Storing

// The metadata, in place of what was there. The database notes who writes a snapshot, and removes it where
// that one leaves before it is complete.
static void put_metadata(penstock_client* client, const psk_storing* what) {
  psk_metadata_list names = {0};
  const psk_metadata_list* metadata = what->metadata;
  for (int i = 0; i < what->count; i++)
    if (psk_add_string(&names, PSK_TENSOR_NAMES, what->fields[i].name)) client->no_memory = 1;
  int lists = metadata->count + names.count;
  if (!what->of_stream) {
    psk_command_begin(client, 2, psk_reply_ok, NULL);
    psk_word(client, "DEL");
    psk_key(client, what->entry, ".meta", NULL);
  }
  if (lists > 0) {
    psk_command_begin(client, 2 + 2 * lists, psk_reply_ok, NULL);
    psk_word(client, what->of_stream ? "PENSTOCK.BEGIN" : "HSET");
    psk_key(client, what->entry, ".meta", NULL);
    for (int i = 0; i < lists; i++) {
      const psk_metadata* one = i < names.count ? &names.of[i] : &metadata->of[i - names.count];
      psk_word(client, one->name);
      psk_word_bytes(client, one->packed.at, one->packed.used);
    }
  }
  psk_free_metadata(&names);
}

// Lease, wait for memory, and build the message.
static int begin_store(penstock_client* client, const psk_storing* what, psk_put* puts, int count) {
  psk_link* link = psk_shared_link(client, what->entry, "", "");
  int status = psk_puts_prepare(client, link, puts, count, !what->of_stream);
  size_t by_socket = what->of_stream ? psk_puts_by_socket(puts, count) : 0;
  if (!status) status = psk_find_memory(client, what->entry, by_socket);
  if (status) return status;
  psk_again(client);
  put_metadata(client, what);
  for (int i = 0; i < count; i++) psk_put_command(client, &puts[i], what->entry, ".", puts[i].name);
  if (by_socket) psk_room_ahead(client, what->entry, by_socket);
  return 0;
}

int psk_store(penstock_client* client, const psk_storing* what) {
  int status, count = what->names_only ? 0 : what->count;
  psk_put* puts = calloc((size_t)count + 1, sizeof *puts);
  if (!puts) return psk_fail(client, PENSTOCK_MEMORY, NULL, "no memory for %d tensors", count);
  for (int i = 0; i < count; i++) psk_put_of(&puts[i], what->fields[i].name, &what->fields[i].array);
  psk_again(client);
  do {
    status = begin_store(client, what, puts, count);
    if (!status) status = psk_run(client);
  } while (!status && psk_puts_again(puts, count));
  psk_puts_end(puts, count);
  free(puts);
  return status;
}

// Call a dataset complete, once everything has been stored.
static int complete(penstock_client* client, const char* entry) {
  psk_again(client);
  psk_command_begin(client, 4, psk_reply_ok, NULL);
  psk_word(client, "HSET");
  psk_key(client, entry, ".meta", NULL);
  psk_word(client, PSK_COMPLETE);
  psk_word(client, "1");
  return psk_run(client);
}

int penstock_dataset_new(penstock_client* client, const char* name, penstock_dataset** dataset) {
  psk_begin(client, "make dataset", name);
  *dataset = NULL;
  int status = psk_check_name(client, "dataset", name);
  if (status) return status;
  penstock_dataset* made = calloc(1, sizeof *made);
  if (!made || !(made->name = strdup(name))) {
    free(made);
    return psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a dataset");
  }
  made->client = client;
  *dataset = made;
  return 0;
}

void penstock_dataset_free(penstock_dataset* dataset) {
  if (!dataset) return;
  for (int i = 0; i < dataset->count; i++) {
    free(dataset->tensors[i]->name);
    free(dataset->tensors[i]->owned);
    free(dataset->tensors[i]);
  }
  free(dataset->tensors);
  psk_free_metadata(&dataset->metadata);
  psk_free_strings(dataset->answer, dataset->n_answer);
  free(dataset->name);
  free(dataset);
}

static tensor* find(const penstock_dataset* dataset, const char* name) {
  for (int i = 0; i < dataset->count; i++)
    if (!strcmp(dataset->tensors[i]->name, name)) return dataset->tensors[i];
  return NULL;
}

static tensor* add(penstock_dataset* dataset, const char* name) {
  tensor** more = realloc(dataset->tensors, (size_t)(dataset->count + 1) * sizeof *more);
  tensor* made = calloc(1, sizeof *made);
  if (more) dataset->tensors = more;
  if (more && made && (made->name = strdup(name))) return more[dataset->count++] = made;
  free(made);
  psk_fail(dataset->client, PENSTOCK_MEMORY, name, "no memory for a tensor");
  return NULL;
}

static void describe(tensor* one, const penstock_array* array) {
  one->array = *array;
  memcpy(one->dims, array->dims, (size_t)array->rank * sizeof *one->dims);
  one->array.dims = one->dims;
  if (!array->strides) return;
  memcpy(one->strides, array->strides, (size_t)array->rank * sizeof *one->strides);
  one->array.strides = one->strides;
}

int penstock_dataset_add_tensor(penstock_dataset* dataset, const char* name, const penstock_array* array) {
  penstock_client* client = dataset->client;
  psk_begin(client, "add tensor", name);
  int status = psk_check_field(client, name);
  if (!status) status = psk_check_array(client, name, array);
  if (!status && find(dataset, name))
    status =
        psk_fail(client, PENSTOCK_INVALID, name, "the dataset %s has a tensor of this name", dataset->name);
  tensor* one = status ? NULL : add(dataset, name);
  if (one) describe(one, array);
  return client->error.status;
}

static int check_metadata(penstock_client* client, const char* name) {
  if (name && name[0] == '.')
    return psk_fail(client, PENSTOCK_NAME, name, "list of metadata: SmartRedis keeps names with a dot first");
  return psk_check_name(client, "list of metadata", name);
}

static int added(penstock_client* client, const char* name, int status) {
  if (status == PENSTOCK_INVALID)
    return psk_fail(client, status, name,
                    "a list of metadata has one type, of float64, float32, int64, "
                    "int32, uint64, uint32 and string");
  return status ? psk_fail(client, status, name, "no memory for metadata") : 0;
}

int penstock_dataset_add_scalar(penstock_dataset* dataset, const char* name, penstock_dtype dtype,
                                const void* value) {
  penstock_client* client = dataset->client;
  psk_begin(client, "add metadata", name);
  int status = check_metadata(client, name);
  return status ? status : added(client, name, psk_add_scalar(&dataset->metadata, name, dtype, value));
}

int penstock_dataset_add_string(penstock_dataset* dataset, const char* name, const char* value) {
  penstock_client* client = dataset->client;
  psk_begin(client, "add metadata", name);
  int status = check_metadata(client, name);
  return status ? status : added(client, name, psk_add_string(&dataset->metadata, name, value));
}

int penstock_put_dataset(penstock_client* client, const penstock_dataset* dataset) {
  psk_begin(client, "put dataset", dataset->name);
  if (dataset->count == 0 && dataset->metadata.count == 0)
    return psk_fail(client, PENSTOCK_INVALID, dataset->name, "the dataset has neither tensors nor metadata");
  penstock_field* fields = calloc((size_t)dataset->count + 1, sizeof *fields);
  char* entry = psk_entry(client, client->written, dataset->name);
  for (int i = 0; fields && i < dataset->count; i++)
    fields[i] = (penstock_field){dataset->tensors[i]->name, dataset->tensors[i]->array};
  int status = PENSTOCK_MEMORY;
  if (entry && fields) {
    const psk_storing what = {
        .entry = entry, .fields = fields, .count = dataset->count, .metadata = &dataset->metadata};
    status = psk_store(client, &what);
    if (!status) status = complete(client, entry);
  }
  free(entry);
  free(fields);
  return status;
}

// ---- Loading

int psk_load(penstock_client* client, const char* entry, psk_sink* sinks, int count) {
  for (int i = 0; i < count; i++) sinks[i].again = 1;
  for (int left = count; left > 0;) {
    psk_again(client);
    for (int i = 0; i < count; i++)
      if (sinks[i].again) psk_get_command(client, &sinks[i], entry, ".", sinks[i].name);
    int status = psk_get_all(client);
    if (status) return status;
    left = 0;
    for (int i = 0; i < count; i++) left += sinks[i].again;
  }
  return 0;
}

static int by_text(const void* one, const void* other) {
  return strcmp(*(const char* const*)one, *(const char* const*)other);
}

char* psk_missing(const psk_sink* sinks, int count) {
  const char** names = calloc((size_t)count + 1, sizeof *names);
  size_t missing = 0, room = 1;
  for (int i = 0; names && i < count; i++) {
    if (!sinks[i].missing) continue;
    names[missing++] = sinks[i].name;
    room += strlen(sinks[i].name) + 2;
  }
  char* text = missing ? calloc(1, room) : NULL;
  if (text) qsort(names, missing, sizeof *names, by_text);
  for (size_t i = 0; text && i < missing; i++) {
    if (i) strcat(text, ", ");
    strcat(text, names[i]);
  }
  free(names);
  return text;
}

static void* place_tensor(void* context, const char* name, const penstock_info* info) {
  penstock_dataset* dataset = context;
  tensor* one = find(dataset, name);
  if (!one) return NULL;
  free(one->owned);  // of an attempt that broke off
  one->owned = malloc(info->nbytes ? info->nbytes : 1);
  penstock_array array = {one->owned, info->dtype, info->rank, info->dims, NULL};
  describe(one, &array);
  return one->owned;
}

static int load_tensors(penstock_dataset* dataset, const char* entry) {
  penstock_client* client = dataset->client;
  psk_sink* sinks = calloc((size_t)dataset->count + 1, sizeof *sinks);
  if (!sinks) return psk_fail(client, PENSTOCK_MEMORY, dataset->name, "no memory for a dataset");
  for (int i = 0; i < dataset->count; i++)
    sinks[i] = (psk_sink){
        .place = place_tensor, .context = dataset, .name = dataset->tensors[i]->name, .may_miss = 1};
  psk_again(client);
  int status = psk_load(client, entry, sinks, dataset->count);
  char* missing = psk_missing(sinks, dataset->count);
  if (!status && missing)
    status = psk_fail(client, PENSTOCK_INCOMPLETE, dataset->name, "not in the database: %s", missing);
  free(missing);
  free(sinks);
  return status;
}

static int load(penstock_dataset* dataset, const char* entry) {
  penstock_client* client = dataset->client;
  psk_begin(client, "get dataset", dataset->name);
  psk_command_begin(client, 2, psk_reply_metadata, &dataset->metadata);
  psk_word(client, "HGETALL");
  psk_key(client, entry, ".meta", NULL);
  int status = psk_run(client);
  if (!status && dataset->metadata.count == 0)
    status = psk_fail(client, PENSTOCK_KEY_MISSING, dataset->name, "there is no such dataset");
  if (status) return status;
  const psk_metadata* names = psk_find_metadata(&dataset->metadata, PSK_TENSOR_NAMES);
  int count = 0;
  char** texts = names ? psk_packed_strings(&names->packed, &count) : NULL;
  if (names && !texts) return psk_fail(client, PENSTOCK_MEMORY, dataset->name, "no memory for the names");
  for (int i = 0; !status && i < count; i++)
    if (!add(dataset, texts[i])) status = PENSTOCK_MEMORY;
  psk_free_strings(texts, count);
  return status ? status : load_tensors(dataset, entry);
}

int penstock_get_dataset(penstock_client* client, const char* name, penstock_dataset** dataset) {
  penstock_dataset* made;
  *dataset = NULL;
  int status = penstock_dataset_new(client, name, &made);
  if (status) return status;
  char* entry = psk_entry(client, client->read, name);
  status = entry ? load(made, entry) : PENSTOCK_MEMORY;
  free(entry);
  if (status)
    penstock_dataset_free(made);
  else
    *dataset = made;
  return status;
}

int penstock_dataset_exists(penstock_client* client, const char* name, int* exists) {
  psk_begin(client, "look for dataset", name);
  int status = psk_check_name(client, "dataset", name);
  if (status) return status;
  int64_t count = 0;
  psk_command_begin(client, 3, psk_reply_integer, &count);
  psk_word(client, "HEXISTS");
  psk_key(client, client->read, psk_dot(client->read), "{", name, "}.meta", NULL);
  psk_word(client, PSK_COMPLETE);
  status = psk_run(client);
  if (!status) *exists = count > 0;
  return status;
}

// ---- Looking

int penstock_dataset_tensors(const penstock_dataset* dataset) { return dataset->count; }

const char* penstock_dataset_tensor_name(const penstock_dataset* dataset, int i) {
  return i >= 0 && i < dataset->count ? dataset->tensors[i]->name : NULL;
}

int penstock_dataset_get_tensor(const penstock_dataset* dataset, const char* name, penstock_array* array) {
  psk_begin(dataset->client, "look for tensor", name);
  const tensor* one = name ? find(dataset, name) : NULL;
  if (!one) return psk_fail(dataset->client, PENSTOCK_KEY_MISSING, name, "the dataset has no such tensor");
  *array = one->array;
  return 0;
}

// Keep what was asked for until the next question: `count` blocks. Returns PENSTOCK_OK or PENSTOCK_MEMORY.
static int keep(const penstock_dataset* dataset, char** blocks, int count) {
  penstock_dataset* owner = (penstock_dataset*)(uintptr_t)dataset;  // a question changes nothing that is seen
  psk_free_strings(owner->answer, owner->n_answer);
  owner->answer = blocks;
  owner->n_answer = blocks ? count : 0;
  return blocks ? PENSTOCK_OK : PENSTOCK_MEMORY;
}

int penstock_dataset_get_scalars(const penstock_dataset* dataset, const char* name, penstock_dtype* dtype,
                                 const void** values, int* count) {
  psk_begin(dataset->client, "look for metadata", name);
  const psk_metadata* one = name ? psk_find_metadata(&dataset->metadata, name) : NULL;
  penstock_dtype found = one ? psk_packed_dtype(&one->packed) : (penstock_dtype)0;
  if (!found)
    return psk_fail(dataset->client, PENSTOCK_KEY_MISSING, name, "the dataset has no such list of numbers");
  size_t length = one->packed.used - 1;
  char* aligned = malloc(length + 1);  // there they stand behind one byte
  char** blocks = aligned ? calloc(1, sizeof *blocks) : NULL;
  if (blocks) blocks[0] = memcpy(aligned, one->packed.at + 1, length);
  if (keep(dataset, blocks, 1)) {
    free(aligned);
    return psk_fail(dataset->client, PENSTOCK_MEMORY, name, "no memory for metadata");
  }
  *dtype = found;
  *values = aligned;
  *count = (int)(length / penstock_dtype_size(found));
  return 0;
}

const char* penstock_dataset_get_string(const penstock_dataset* dataset, const char* name, int i) {
  const psk_metadata* one = name ? psk_find_metadata(&dataset->metadata, name) : NULL;
  int count = 0;
  char** texts = one ? psk_packed_strings(&one->packed, &count) : NULL;
  if (!texts || keep(dataset, texts, count)) return NULL;
  return i >= 0 && i < count ? texts[i] : NULL;
}

// ---- Lists

int penstock_append_to_list(penstock_client* client, const char* list, const char* dataset) {
  psk_begin(client, "append to list", list);
  int status = psk_check_name(client, "list", list);
  if (!status) status = psk_check_name(client, "dataset", dataset);
  if (status) return status;
  int64_t length;
  psk_command_begin(client, 3, psk_reply_integer, &length)->only_once = 1;
  psk_word(client, "RPUSH");
  psk_key(client, list, NULL);
  psk_word_joined(client, client->written, psk_dot(client->written), "{", dataset, "}", NULL);
  return psk_run(client);
}

int psk_list_length(penstock_client* client, const char* what, const char* list, int64_t* length) {
  int status = psk_check_name(client, what, list);
  if (status) return status;
  psk_command_begin(client, 2, psk_reply_integer, length);
  psk_word(client, "LLEN");
  psk_key(client, list, NULL);
  return psk_run(client);
}

int penstock_list_length(penstock_client* client, const char* list, int64_t* length) {
  psk_begin(client, "count the entries of list", list);
  return psk_list_length(client, "list", list, length);
}

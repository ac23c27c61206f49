// What the files of libpenstock share. Users include penstock.h alone.
//
// From the wire upwards:
//   socket.c    transports: TCP and Unix sockets. Another transport is one more file with a psk_transport
//   arena.h     shared memory, in files of its own: beside a socket, for arrays of some size
//   link.c      one connection: buffered reading, reading into the caller's memory, writing without a copy
//   resp.c      commands as lists of parts (text, or the caller's memory), replies as tokens
//   cluster.c   which shard a key lives in
//   exchange.c  commands out, replies in: redirections, reconnections, deadlines
//   strided.c   arrays with gaps, or in another order, through a buffer of fixed size
//   npy.c spill.c   fields as .npy files, snapshots as directories of them
//   about.c contract.c series.c   what is known of fields, what all agree on, what this client has put
//   flow.h      bounded streams, in files of its own
//   tensor.c dataset.c stream.c batch.c flag.c model.c post.c model_about.c swap.c archive.c
//   wait.c async.c                                                       the calls of penstock.h
//   client.c address.c error.c names.c                                   around them
//
// Ownership: a client owns its links, its message and its error; nothing is shared between clients. Functions
// that return int give 0 or a penstock_status, unless they say otherwise.

#ifndef PENSTOCK_INTERNAL_H
#define PENSTOCK_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "penstock.h"

#define PSK_SLOTS 16384
#define PSK_CONNECTIONS 16
#define PSK_IN_BYTES ((size_t)16 << 10)
#define PSK_STAGE_BYTES ((size_t)4 << 20)
// Smaller arrays go through the socket: a copy there costs less than the second look.
#define PSK_SHARED_FROM ((size_t)32 << 10)
#define PSK_AHEAD 16  // leases at most that wait for their put
#define PSK_DEFAULT_TIMEOUT 600.0
#define PSK_DEFAULT_CONNECT_TIMEOUT 5.0

// A function that could not finish because its link broke returns this; why is in client->why.
#define PSK_BROKEN (-1)

enum psk_hopeless { PSK_HOPE, PSK_NO_TIME, PSK_NO_MEMORY, PSK_NO_REDIS, PSK_HALFWAY };

typedef struct psk_link psk_link;
typedef struct psk_command psk_command;
typedef struct psk_arena psk_arena;
typedef struct psk_hold psk_hold;
typedef struct psk_piece psk_piece;

// ---- strided.c: a walk over the elements of an array in row-major order

typedef struct psk_walk {
  char* data;
  size_t size;  // of an element, bytes
  int rank;     // after neighbouring dimensions without a gap were joined
  int64_t dims[PENSTOCK_MAX_RANK];
  int64_t strides[PENSTOCK_MAX_RANK];
  int64_t elements;
  int64_t done;
} psk_walk;

void psk_walk_over(psk_walk* walk, const penstock_array* array);
int psk_walk_is_plain(const psk_walk* walk);
// Copy the next elements into `to`, or from `from`; return the bytes that were copied, at most `room`.
size_t psk_gather(psk_walk* walk, void* to, size_t room);
size_t psk_scatter(psk_walk* walk, const void* from, size_t bytes);

// ---- resp.c

typedef struct psk_bytes {
  char* at;
  size_t used;
  size_t room;
} psk_bytes;

// A part of a message: bytes of the message's own text, the caller's memory, or an array with gaps.
typedef struct psk_part {
  const char* memory;  // NULL: `offset` in the text
  size_t offset;
  size_t length;
  const penstock_array* strided;  // not NULL: gathered while it is written
} psk_part;

// Reads the whole reply of its command, whose first token is given. Returns 0, a penstock_status after
// psk_fail, or PSK_BROKEN. May be called again after PSK_BROKEN.
typedef struct psk_token psk_token;
typedef int (*psk_reply)(penstock_client* client, psk_link* link, psk_command* command,
                         const psk_token* token);

enum psk_state { PSK_PENDING, PSK_SENT, PSK_DONE };

struct psk_command {
  int first_part, last_part;
  int slot;         // of its key; -1: any shard
  psk_link* asked;  // not NULL: an ASK redirection, for once
  psk_link* link;   // it was given to
  enum psk_state state;
  psk_link* to;            // not NULL: it goes there, whatever its key
  int64_t connection;      // not 0: it has no meaning on another connection
  int written;             // completely, so that it may have been executed
  int only_once;           // must not be sent again once it may have been executed
  int settled;             // is not sent again once it was answered
  int sent;                // how often
  const psk_arena* arena;  // not NULL: it is about this one, and has no meaning for another
  int* misplaced;          // set where it was not sent for that reason
  psk_reply reply;
  void* context;
};

struct psk_token {
  char kind;         // + - : $ *
  int64_t number;    // the integer; the length of a bulk or an array, -1 for none
  const char* text;  // of + and -, until the next token is read
  size_t length;
};

// Begin a command of so many words; then exactly as many words are to follow.
psk_command* psk_command_begin(penstock_client* client, int words, psk_reply reply, void* context);
void psk_word(penstock_client* client, const char* text);
void psk_word_bytes(penstock_client* client, const void* bytes, size_t length);
void psk_word_number(penstock_client* client, int64_t number);
// A word that is the texts one after another, until NULL.
void psk_word_joined(penstock_client* client, ...);
// The same, and it is the key that decides where the command goes.
void psk_key(penstock_client* client, ...);
// A model's name as it is in one shard of a cluster, `{xx}.name@version`; `tag` NULL: not in a cluster,
// `version` 0: the live one. `is_key` as above.
void psk_word_model(penstock_client* client, const char* tag, const char* name, int64_t version, int is_key);
// The elements of an array, in row-major order.
void psk_word_array(penstock_client* client, const penstock_array* array);
// The caller's memory, which is not copied.
void psk_word_memory(penstock_client* client, const void* memory, size_t length);

int psk_append(psk_bytes* bytes, const void* from, size_t length);

int psk_next(penstock_client* client, psk_link* link, psk_token* token);
// Whether the text of a + or - begins so.
int psk_begins(const psk_token* token, const char* text);
// The body of a bulk: into memory, into at most `room` bytes with a NUL behind (the rest is passed over), or
// away.
int psk_body(penstock_client* client, psk_link* link, const psk_token* token, void* to);
int psk_body_text(penstock_client* client, psk_link* link, const psk_token* token, char* to, size_t room);
int psk_pass(penstock_client* client, psk_link* link, const psk_token* token);
int psk_garbage(penstock_client* client, psk_link* link, const char* expected);

// Replies of one kind.
int psk_reply_ok(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token);
int psk_reply_integer(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token);
// Anything but an error and an array.
int psk_reply_ignored(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token);
// Into a char*, which is replaced: NULL where there is none, else to be freed.
int psk_reply_text(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token);

// ---- socket.c, link.c

typedef struct psk_endpoint {
  char host[256];  // or the path of a Unix socket
  int port;        // 0: a Unix socket
} psk_endpoint;

enum psk_waiting { PSK_NOW, PSK_SOME, PSK_ALL };  // what is there, at least a byte, all of it

typedef struct psk_transport {
  // Return 0 or an errno.
  int (*open)(psk_link* link, double deadline);
  // Like sendmsg and recv. `wait` is one of psk_waiting; who blocks does so as long as the link's patience.
  ssize_t (*send)(psk_link* link, const struct iovec* parts, int count, int wait);
  ssize_t (*receive)(psk_link* link, void* to, size_t length, int wait);
  void (*close)(psk_link* link);
  void (*set_patience)(psk_link* link, double seconds);
} psk_transport;

extern const psk_transport psk_tcp;
extern const psk_transport psk_unix;

struct psk_link {
  psk_endpoint endpoint;
  const psk_transport* transport;
  int fd;           // -1: closed
  unsigned opened;  // how often
  size_t promised;  // bytes that its server keeps room for, see flow.c
  int patient;      // the kernel has been told how long it may wait
  char* in;         // what has been received and not yet read
  size_t start, end;
  char* stage;  // elements of a strided array on their way
  size_t stage_start, stage_end;
  int command, part;  // where writing stands
  size_t offset;
  int walking;
  psk_walk walk;
  int greeted;                           // on this connection
  int no_arena;                          // the server has said so
  psk_arena* arena;                      // NULL: no shared memory
  int64_t connection;                    // the server's number of it, where there is an arena
  int64_t connections[PSK_CONNECTIONS];  // this one, or those that may hold what was this link's
  int n_connections;
  int no_leases;  // the server lets this user have none
  psk_hold* ahead[PSK_AHEAD];
  int n_ahead;
  size_t sizes[PSK_AHEAD];  // of the puts of late, bytes
  unsigned n_sizes;
};

psk_link* psk_link_new(const psk_endpoint* endpoint);
void psk_link_free(psk_link* link);
int psk_link_open(penstock_client* client, psk_link* link, double deadline);
void psk_link_close(psk_link* link);
// Close it and keep why in client->why. Returns PSK_BROKEN.
int psk_link_broke(penstock_client* client, psk_link* link, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
int psk_link_is_stale(psk_link* link);
int psk_link_line(penstock_client* client, psk_link* link, const char** line, size_t* length);
int psk_link_read(penstock_client* client, psk_link* link, void* to, size_t length);
int psk_link_skip(penstock_client* client, psk_link* link, size_t length);
// Write what is pending for this link. `wait` 0: what is possible now. Sets *finished.
int psk_link_write(penstock_client* client, psk_link* link, int wait, int* finished);
int psk_wait_any(penstock_client* client, struct psk_link** links, int count);

// ---- cluster.c

typedef struct psk_range {
  int low, high;
  psk_link* link;
  char tag[2];  // two bytes whose slot is in the range: SmartRedis' place for models
} psk_range;

typedef struct psk_cluster {
  int on;  // the database is a cluster
  psk_link** links;
  int n_links;
  psk_range* ranges;
  int n_ranges;
  psk_link* of_slot[PSK_SLOTS];
} psk_cluster;

int psk_slot(const char* key, size_t length);
psk_link* psk_link_to(penstock_client* client, const psk_endpoint* endpoint);
// Ask a server for the map. Returns 0, PSK_BROKEN, or PENSTOCK_REFUSED where it belongs to no cluster.
int psk_cluster_ask(penstock_client* client, psk_link* link);
// Ask any server that answers, those that are known and those of the address.
int psk_cluster_refresh(penstock_client* client);
psk_link* psk_route(penstock_client* client, const psk_command* command);
// The link to the shard of a key; NULL where none serves it.
psk_link* psk_link_of(penstock_client* client, const char* key);

// ---- exchange.c

// Forget the commands that were built, and set the deadline of a call.
void psk_begin(penstock_client* client, const char* doing, const char* subject);
// Forget the commands alone, for the next round trip of the same call.
void psk_again(penstock_client* client);
// Begin another round trip whatever went wrong before, with the time that a connection may take.
void psk_ask_anew(penstock_client* client);
// Send everything that was built and read all replies. Returns 0 or the first error.
int psk_run(penstock_client* client);
// One attempt to send one short command on an open link and read its reply, without any repetition.
int psk_attempt(penstock_client* client, psk_link* link, const char* text, size_t length,
                psk_command* command);

// ---- arena.h: the parts that are built into the others

// Ask a new connection of this host for shared memory. Returns 0 or PSK_BROKEN.
int psk_greet(penstock_client* client, psk_link* link);
// Build a RELEASE of what has been given back, for each link.
void psk_arena_flush(penstock_client* client);
// A client ends. Whether the link stays for views that live on; else it is to be freed.
int psk_arena_leave(psk_link* link);

// ---- error.c, names.c, address.c

int psk_fail(penstock_client* client, int status, const char* subject, const char* format, ...)
    __attribute__((format(printf, 4, 5)));
// The database's own error in the words of the contract.
int psk_refused(penstock_client* client, const char* text, size_t length);
// Say more of the error that is there.
void psk_add_reason(penstock_client* client, const char* format, ...) __attribute__((format(printf, 2, 3)));
// Keep the error of a client that is about to go, for this thread.
void psk_remember(const penstock_client* client);
double psk_now(void);
void psk_pause(penstock_client* client, double seconds);
int psk_signalled(penstock_client* client);

int psk_check_name(penstock_client* client, const char* what, const char* name);
int psk_check_field(penstock_client* client, const char* name);
// Whether a model may be posted under a name: its key is the name itself, which others may have.
int psk_check_model(penstock_client* client, const char* name);
// The key of a stream's contract, in the stream's slot.
void psk_contract_key(penstock_client* client, const char* stream);
// `label` says in an error which array it is.
int psk_check_array(penstock_client* client, const char* label, const penstock_array* array);
const char* psk_wire_dtype(penstock_dtype dtype);
penstock_dtype psk_dtype_of_wire(const char* name);
// Bytes of an array; 0 where that does not fit into memory.
size_t psk_nbytes(penstock_dtype dtype, int rank, const int64_t* dims);
// For example "float32 (3, 4)".
const char* psk_describe(char* text, size_t room, penstock_dtype dtype, int rank, const int64_t* dims);

typedef struct psk_address {
  char* text;
  psk_endpoint* endpoints;
  int count;
} psk_address;

int psk_address_parse(penstock_client* client, const char* text);
int psk_identity(penstock_client* client);

// ---- model.c

// Where a model is stored: once in each range of slots, `tag` NULL where there is no cluster.
int psk_places(const penstock_client* client);
const char* psk_place_tag(const penstock_client* client, int place);
// 0: there is none.
int psk_live_version(penstock_client* client, const char* name, int64_t* version);
int psk_live_at(penstock_client* client, const char* name, int place, int64_t* version);
// The version that the shard with the model's registry answers by.
int psk_live_at_registry(penstock_client* client, const char* name, int64_t* version);

// ---- model_about.c

// Check what is known of a version, as JSON.
int psk_check_model_about(penstock_client* client, const char* name, const char* text);

// ---- swap.c

// Wait until no other program changes which version of a model is live, and keep all others from it for 30 s.
int psk_swap_begin(penstock_client* client, const char* name);
// For 30 s more. An error where that time was over.
int psk_swap_keep(penstock_client* client, const char* name);
void psk_swap_end(penstock_client* client, const char* name);

// ---- archive.c

// What runs a file: "ONNX" for an ONNX file, "TORCH" for TorchScript, packages and what is neither.
const char* psk_backend_of(const void* model, size_t size);

// ---- tensor.c

// Where a tensor goes that is on its way.
typedef struct psk_sink {
  const penstock_array* array;  // of this dtype and shape, or
  penstock_place place;         // what this gives
  void* context;
  const char* name;     // for `place`, and for errors
  penstock_info* info;  // set to what the tensor is, where not NULL
  int missing;          // set, and no error, where `may_miss`
  int may_miss;
  int by_socket;     // never by shared memory
  int again;         // it is to be asked for again
  psk_piece* piece;  // not NULL: a view instead of a copy
} psk_sink;

// A psk_sink's `place` for a view: memory of its own, with the psk_piece as context.
void* psk_own_piece(void* context, const char* name, const penstock_info* info);

// What stands in front of a tensor's bytes.
typedef struct psk_header {
  penstock_info info;
  char dtype[24];
} psk_header;

int psk_read_shape(penstock_client* client, psk_link* link, penstock_info* info);
// The bytes, whose token is given.
int psk_read_blob(penstock_client* client, psk_link* link, psk_sink* sink, const psk_header* head,
                  const psk_token* token);
// Whether the array to be filled, if any, is another; then the error is set.
int psk_does_not_fit(penstock_client* client, const psk_sink* sink, const penstock_info* info);
// The error of a tensor's reply; *status is what to return. Whether it is one.
int psk_tensor_error(penstock_client* client, const psk_token* token, psk_sink* sink, int* status);

// The words of AI.TENSORSET behind the key, and how many these are.
void psk_tensor_words(penstock_client* client, const penstock_array* array);
int psk_count_tensor_words(const penstock_array* array);
// Read an answer of META BLOB, whose first token is given, into a psk_sink.
int psk_read_tensor(penstock_client* client, psk_link* link, psk_sink* sink, const psk_token* token);
// The same as a reply, with a psk_sink as context.
int psk_reply_tensor(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token);
// Get one tensor of the client's.
int psk_get_tensor(penstock_client* client, const char* name, psk_sink* sink);

// ---- metadata.c: what SmartRedis keeps about a dataset, each list as a byte of type and its values

typedef struct psk_metadata {
  char* name;
  psk_bytes packed;
} psk_metadata;

typedef struct psk_metadata_list {
  psk_metadata* of;
  int count;
} psk_metadata_list;

#define PSK_TENSOR_NAMES ".tensor_names"
#define PSK_COMPLETE ".COMPLETE"

// Append a value; a new list where there is none of the name.
int psk_add_scalar(psk_metadata_list* list, const char* name, penstock_dtype dtype, const void* value);
int psk_add_string(psk_metadata_list* list, const char* name, const char* value);
const psk_metadata* psk_find_metadata(const psk_metadata_list* list, const char* name);
// The dtype of a list's values, 0 where they are strings or nothing that is known.
penstock_dtype psk_packed_dtype(const psk_bytes* packed);
// The i-th string of a list, NULL past the last. It is not terminated.
const char* psk_packed_string(const psk_bytes* packed, int i, size_t* length);
void psk_free_metadata(psk_metadata_list* list);
// All strings of a list, terminated, to be freed with their array. NULL: no memory. Sets *count.
char** psk_packed_strings(const psk_bytes* packed, int* count);
void psk_free_strings(char** texts, int count);
// A reply of names and values in turn, with a psk_metadata_list as context.
int psk_reply_metadata(penstock_client* client, psk_link* link, psk_command* command, const psk_token* token);

// ---- dataset.c

// "prefix.{name}", what the keys of a dataset begin with, to be freed. NULL: no memory, and psk_fail was
// called.
char* psk_entry(penstock_client* client, const char* prefix, const char* name);
// A dataset that is to be stored, its metadata with it.
typedef struct psk_storing {
  const char* entry;
  const penstock_field* fields;
  int count;
  const psk_metadata_list* metadata;
  int names_only;  // the fields are elsewhere
  int of_stream;   // waits for room in the server's memory, see flow.c, and for none in shared memory
} psk_storing;

int psk_store(penstock_client* client, const psk_storing* what);
// How long a list is. `what` says in an error what the name is of: "list" or "stream".
int psk_list_length(penstock_client* client, const char* what, const char* list, int64_t* length);

// Read the tensors of these names, each into its sink; what it is alone where the sink has no place for it.
int psk_load(penstock_client* client, const char* entry, psk_sink* sinks, int count);
// The sinks whose tensors are missing, sorted, as "u, w"; NULL: none. To be freed.
char* psk_missing(const psk_sink* sinks, int count);

// ---- npy.c

// Write or read a file; `why` says what failed. Returns 0 or a penstock_status, without psk_fail.
int psk_npy_write(const char* path, const penstock_array* array, char* why, size_t room);
// Into what the sink gives.
int psk_npy_read(const char* path, const psk_sink* sink, char* why, size_t room);

// ---- spill.c

#define PSK_SPILLED ".spilled"

// Write the fields below `directory`, as the database names it, and add to the metadata where they are.
int psk_spill(penstock_client* client, const char* directory, const char* stream, const char* name,
              const penstock_field* fields, int count, psk_metadata_list* metadata);
// Read fields that were spilled.
int psk_load_spilled(penstock_client* client, const psk_bytes* packed, const char* name, psk_sink* sinks,
                     int count);
// Read what the files of client->found_fields have, without their numbers, and hold it to the contract of the
// stream.
int psk_check_spilled(penstock_client* client, const char* stream, const char* name, const psk_bytes* packed);
// Remove the arrays of a snapshot, where the path is one of its stream's, and their directory. `forget`:
// those above it too where they are empty then.
void psk_remove_spilled(const psk_bytes* packed, const char* stream, const char* name, int forget);

// ---- flow.c: room in streams; meter.c: psk_explain_missing

typedef struct psk_flow psk_flow;
void psk_free_flows(psk_flow* flows);

// What becomes of a snapshot. `directory` (to be freed) is where it is spilled to.
typedef struct psk_verdict {
  penstock_outcome outcome;
  char* directory;
} psk_verdict;

// Bytes of the tensors of a snapshot: all of them, and those that the server takes from its own memory, for
// they come through the socket.
typedef struct psk_size {
  size_t all, by_socket;
} psk_size;

// lease.c: as far as it is known before anything is leased.
size_t psk_bytes_by_socket(penstock_client* client, const char* entry, const penstock_field* fields,
                           int count);
// Get room for a snapshot, by the client's deadline; the deadline begins anew.
int psk_reserve(penstock_client* client, const char* stream, const char* entry, psk_size size,
                psk_verdict* verdict);
// Get memory for so many bytes through the socket, by the client's deadline, where it is not promised yet.
int psk_find_memory(penstock_client* client, const char* entry, size_t bytes);
// Give the room back after an error, which is kept.
void psk_release(penstock_client* client, const char* stream);
// Ask the shard of an entry to keep room for the next snapshot, behind the tensors of this one.
void psk_room_ahead(penstock_client* client, const char* entry, size_t bytes);
// What is to be told of a snapshot that has been stored.
typedef struct psk_news {
  const char *stream, *entry;
  const char* contract;  // that it keeps
  int64_t bytes;         // -1: it was spilled
  int announced;
  // Set by the replies:
  int gone;       // the connection that wrote it had ended, and it was removed: store it again
  int disagreed;  // the stream has another contract, or none any more
} psk_news;

// Begin the commands that call a snapshot complete and announce it, in one where both are in one shard. The
// reply notes whether the next one has its place.
void psk_announce(penstock_client* client, psk_news* news);
// Agree anew on the contract of a stream that has lost its own.
int psk_agree_again(penstock_client* client, const char* snapshot, const psk_news* news);
// Where an entry is not in the database although it was announced: the error says so if it was dropped.
int psk_explain_missing(penstock_client* client, const char* stream, int64_t position, const char* name);

// ---- about.c: penstock_about whose memory is their own

int psk_copy_about(penstock_about* to, const penstock_about* from);
void psk_free_about(penstock_about* about);
int psk_same_about(const penstock_about* one, const penstock_about* other);
int psk_same_block(const penstock_about* one, const penstock_about* other);
// For example "(64, 128) at (64, 0)".
const char* psk_block_text(char* text, size_t room, const penstock_array* array, const penstock_about* about);

typedef struct psk_described psk_described;
void psk_free_described(psk_described* described);
// What was told of a field of a stream. Never NULL.
const penstock_about* psk_about(const penstock_client* client, const char* stream, const char* field);
// Whether it fits the field's array.
int psk_check_about(penstock_client* client, const penstock_field* field, const penstock_about* about);
int psk_add_about(psk_metadata_list* list, const char* field, const penstock_about* about);

// Keep what a snapshot's metadata tell of its fields, in client->found_fields. Then, once their arrays are
// known, check that they fit.
int psk_take_found(penstock_client* client, const char* snapshot, const psk_metadata_list* metadata,
                   char** fields, int count);
int psk_check_found(penstock_client* client, const char* snapshot);
void psk_free_found(penstock_client* client);
void psk_free_fields(penstock_found* fields, int count);

// ---- contract.c

// The contract that a snapshot would begin; to be freed. NULL: no memory.
char* psk_contract_text(const penstock_client* client, const char* stream, const char* snapshot,
                        const penstock_field* fields, int count);
// By which the database is told which contract a client keeps; flow.h of the module has the same.
int64_t psk_contract_mark(const char* text);
// Offer a contract, and receive the one that holds; to be freed.
int psk_contract_agree(penstock_client* client, const char* stream, const char* mine, char** agreed);
// Fail where a snapshot, by the contract it would begin, does not keep the one that holds.
int psk_contract_differs(penstock_client* client, const char* stream, const char* snapshot,
                         const char* agreed, const char* mine);

// Fail where client->found_fields do not keep the contract of a stream. Where it has none, all do.
int psk_contract_check_found(penstock_client* client, const char* stream, const char* snapshot);

// ---- series.c, stream.c, batch.c, flag.c, async.c

// A snapshot that was checked: its name, the contract that it keeps, and what goes beside its fields.
typedef struct psk_prepared {
  char* name;
  char* contract;
  psk_metadata_list metadata;
} psk_prepared;

typedef struct psk_series psk_series;
void psk_free_series(psk_series* series);
void psk_forget_series(penstock_client* client, const char* stream);
// Check a snapshot before anything of it is sent: against the contract of its stream, which is asked for with
// the first one. Then store and announce it, and take note of it.
int psk_prepare(penstock_client* client, const char* stream, int64_t step, double time,
                const penstock_field* fields, int count, psk_prepared* prepared);
void psk_free_prepared(psk_prepared* prepared);
int psk_put_prepared(penstock_client* client, const char* stream, psk_prepared* prepared,
                     const penstock_field* fields, int count);
void psk_note(penstock_client* client, const char* stream, int64_t step);
// The name of a snapshot, out of an entry of a stream. To be freed.
char* psk_name_of(const char* entry);

// How a snapshot is received: each field where `place` says, those of `into` in their arrays, all of them in
// `view` (those that do not lie in shared memory where `place` says, if there is one), or, without any of
// these, what its fields are.
typedef struct psk_reading {
  penstock_place place;
  void* context;
  const penstock_field* into;
  int count;
  penstock_view* view;
} psk_reading;

int psk_read_snapshot(penstock_client* client, const char* stream, int64_t position, const psk_reading* how,
                      penstock_snapshot* snapshot);
// What its name tells of a snapshot; the producer is client->found.
int psk_parse_name(penstock_client* client, const char* name, penstock_snapshot* snapshot);
void psk_take_time(const psk_metadata_list* metadata, penstock_snapshot* snapshot);
// Where each field of client->found_fields goes. Returns how many there are, or -1 after psk_fail.
int psk_make_sinks(penstock_client* client, const char* name, const psk_reading* how, psk_sink* sinks);

// batch.c: what the last call for several snapshots has returned
typedef struct psk_batch psk_batch;
void psk_free_batch(psk_batch* batch);

// Of a flag whose name is the texts, until NULL.
int psk_set_flag(penstock_client* client, const char* name);

typedef struct psk_async psk_async;
// Returns 0, or the status of what did not arrive.
int psk_async_stop(penstock_client* client);

// ---- client.c

typedef struct psk_error {
  int status;
  char doing[192];
  char subject[256];
  char reason[1536];
  char text[2560];
} psk_error;

struct penstock_client {
  psk_address address;
  psk_cluster cluster;
  size_t shared_from;  // bytes of an array that goes through shared memory; 0: none does
  char* producer;
  int64_t rank;
  char token[33];  // random: no other client has it
  char* written;   // prefix of keys that are written, "" for none
  char* read;
  double timeout;
  double connect_timeout;
  double patience;  // how long the call that is going on may take in all

  const char* doing;  // the call that is going on
  const char* subject;
  double deadline;
  psk_error error;
  char why[512];  // a link broke
  int hopeless;   // it broke in a way that another attempt does not mend: one of psk_hopeless
  int uncertain;  // a command that must go once only may have been executed
  int interrupted;
  int (*check)(void* context);
  void* check_context;

  psk_bytes text;  // of the commands of this round trip
  psk_part* parts;
  int n_parts, room_parts;
  psk_command* commands;
  int n_commands, room_commands;
  int words_left;
  int no_memory;

  char* found;  // the text that the last call has returned: a producer, a contract
  penstock_found* found_fields;
  int n_found;
  char** found_names;
  int n_found_names;
  psk_batch* batch;
  psk_described* described;
  psk_series* series;
  psk_flow* flows;
  penstock_outcome outcome;  // of the last put
  psk_async* async;
  size_t queue_bytes;
};

penstock_client* psk_client_like(const penstock_client* client);
int psk_client_reach(penstock_client* client);
void psk_client_free(penstock_client* client);
// What stands between a prefix and a name: a dot, or nothing.
const char* psk_dot(const char* prefix);

#endif  // PENSTOCK_INTERNAL_H

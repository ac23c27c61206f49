// libpenstock: how a solver in C talks to the database. The C++ wrapper, the Fortran module and Python's
// NativeClient stand on this header; SmartRedis programs read what it writes, and the other way round.
//
//     penstock_client *client;
//     if (penstock_connect(NULL, 0, &client)) fail(penstock_error(NULL));       // address: environment
//     int64_t dims[] = {64, 128};
//     penstock_field fields[] = {{"u", {u, PENSTOCK_FLOAT64, 2, dims, NULL}}};
//     if (penstock_put_snapshot(client, "snapshots", step, time, fields, 1)) fail(penstock_error(client));
//     penstock_close(client);
//
// Names. Everything begins with penstock_ and PENSTOCK_: C has one space of names for a whole program, a
// solver links dozens of libraries into it, and a short `ps_` is PostScript's in several of them.
//
// Errors. Every call that can fail returns 0 (PENSTOCK_OK) or another penstock_status; penstock_error() then
// says what, where and what to try. What is wrong with the arguments is found before anything is sent. An
// output is set only where the call succeeds, except that an array may hold part of an answer that broke off.
//
// Time. Every call ends by a deadline. That of commands is the client's (penstock_set_timeout), a wait has
// its own. All are in seconds. A command that may have been executed is not sent again unless that changes
// nothing.
//
// Threads. A client is used by one thread at a time; clients do not know of each other. The library starts a
// thread only for the first asynchronous put of a client. It installs no signal handlers and raises no
// SIGPIPE.
//
// Memory. What is put is read while the call lasts (an asynchronous put copies it). Strings that the library
// returns belong to it and hold until the next call with the same object.

#ifndef PENSTOCK_H
#define PENSTOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PENSTOCK_MAX_RANK 64
#define PENSTOCK_API __attribute__((visibility("default")))

typedef enum penstock_status {
  PENSTOCK_OK = 0,
  PENSTOCK_INVALID = 1,          // an argument that makes no sense, or out of order
  PENSTOCK_ADDRESS = 2,          // the address is missing or malformed
  PENSTOCK_IDENTITY = 3,         // the environment names a rank that is not a number
  PENSTOCK_UNAVAILABLE = 4,      // the database does not answer, or went away
  PENSTOCK_FULL = 5,             // the database has reached its memory limit
  PENSTOCK_REFUSED = 6,          // the database answered with an error that has no number of its own
  PENSTOCK_NAME = 7,             // a name that cannot be part of a key
  PENSTOCK_TENSOR = 8,           // an array that cannot be sent, or another dtype or shape than is expected
  PENSTOCK_SNAPSHOT = 9,         // a field is missing, or differs from the stream's contract; a step
  PENSTOCK_INCOMPLETE = 10,      // announced, but not every field is in the database
  PENSTOCK_KEY_MISSING = 11,     // no such key
  PENSTOCK_MODEL_MISSING = 12,   // no such model, or no such version of it
  PENSTOCK_MODEL_REJECTED = 13,  // the database refused the model, or the version is not newer
  PENSTOCK_INFERENCE = 14,       // the model ran and failed, or does not fit its inputs
  PENSTOCK_TIMED_OUT = 15,       // what was waited for had not come in time; nothing is broken
  PENSTOCK_MEMORY = 16,          // no memory for it here
  PENSTOCK_INTERRUPTED = 17,     // the caller's check of signals asked to leave
  PENSTOCK_STREAM_FULL = 18,     // a stream had no room for a snapshot in time
  PENSTOCK_DROPPED = 19,         // a snapshot was announced, and its data given up since
} penstock_status;

// The first eight are SmartRedis' own; it cannot read the others, which our database module carries too.
typedef enum penstock_dtype {
  PENSTOCK_FLOAT64 = 1,
  PENSTOCK_FLOAT32 = 2,
  PENSTOCK_INT64 = 3,
  PENSTOCK_INT32 = 4,
  PENSTOCK_INT16 = 5,
  PENSTOCK_INT8 = 6,
  PENSTOCK_UINT16 = 7,
  PENSTOCK_UINT8 = 8,
  PENSTOCK_BOOL = 9,
  PENSTOCK_FLOAT16 = 10,
  PENSTOCK_BFLOAT16 = 11,
  PENSTOCK_UINT32 = 12,
  PENSTOCK_UINT64 = 13,
  PENSTOCK_COMPLEX64 = 14,
  PENSTOCK_COMPLEX128 = 15,
} penstock_dtype;

typedef struct penstock_client penstock_client;
typedef struct penstock_dataset penstock_dataset;
typedef struct penstock_view penstock_view;

// An array of the caller's, to be sent or to be filled.
//   dims     rank of them, in the order that every reader sees: dims[0] varies slowest in the database
//   strides  bytes from one element to the next in each dimension, may be negative; NULL where the array is
//            row-major without gaps. A strided array goes through a buffer of fixed size, never a whole copy.
// A column-major Fortran array a(nx, ny) is dims {nx, ny} with strides {size, nx * size}: readers see a(i, j)
// as [i][j], as from SmartRedis, for the price of a transposition. As dims {ny, nx} without strides it costs
// nothing, and readers see [j][i].
typedef struct penstock_array {
  void* data;
  penstock_dtype dtype;
  int rank;
  const int64_t* dims;
  const int64_t* strides;
} penstock_array;

// A field of a snapshot or a tensor of a dataset: a named array.
typedef struct penstock_field {
  const char* name;
  penstock_array array;
} penstock_field;

// What is known of a field beside its numbers. NULL: nothing.
//   units   "K", "m s-1", "1" for none: 1 to 80 bytes, no commas
//   rank    of the field: how many entries dims, shape and offset have
//   dims    names of the dimensions, in the order of the array's
//   shape   of the global array, of which this rank has a block; its own part, without ghost cells
//   offset  where the block begins in the global array, in each dimension, from 0. Shape and offset are
//           given together
typedef struct penstock_about {
  const char* units;
  int rank;
  const char* const* dims;
  const int64_t* shape;
  const int64_t* offset;
} penstock_about;

// What an array in the database is. Row-major without gaps.
typedef struct penstock_info {
  penstock_dtype dtype;
  int rank;
  int64_t dims[PENSTOCK_MAX_RANK];
  size_t nbytes;
} penstock_info;

// Says where an array that comes from the database is to be put: `nbytes` bytes that hold until the call
// ends, or NULL to refuse it. `name` is the field's, or the output's position as text.
typedef void* (*penstock_place)(void* context, const char* name, const penstock_info* info);

// A field of a snapshot in the database.
typedef struct penstock_found {
  const char* name;
  penstock_info info;
  penstock_about about;
} penstock_found;

// Who announced a snapshot, and when. `has_time` is 0 where the solver gave no time. All that it points to
// holds until the next call with the client.
typedef struct penstock_snapshot {
  const char* producer;
  int64_t rank;
  int64_t step;
  int has_time;
  double time;
  int count;
  const penstock_found* fields;  // all of them; penstock_get_snapshot_fields sets the info of its own alone
} penstock_snapshot;

// ---- Life

// Connect. On failure *client is NULL and penstock_error(NULL) has the text.
//   address  "host:port[,host:port...]" or "unix://path"; NULL: the environment's SSDB. A server behind a
//            port is asked whether it belongs to a cluster, so that SR_DB_TYPE is not needed.
//   timeout  s for this and for every later attempt to reach a server that is gone; 0: 5 s
// The producer is the environment's PENSTOCK_NAME, else process-<pid>; the rank is PENSTOCK_RANK or MPI's,
// else 0. SSKEYOUT and the first of SSKEYIN are put before names as SmartRedis does.
PENSTOCK_API int penstock_connect(const char* address, double timeout, penstock_client** client);

// Send what is queued (within the client's timeout), leave, and free the client, whatever is returned. NULL
// is harmless. Not 0: some of what was queued did not arrive, and penstock_error(NULL) says what and why.
PENSTOCK_API int penstock_close(penstock_client* client);

// Announce snapshots under another name or rank than the environment's. producer NULL or rank -1: as before.
PENSTOCK_API int penstock_set_identity(penstock_client* client, const char* producer, int64_t rank);
PENSTOCK_API const char* penstock_producer(const penstock_client* client);
PENSTOCK_API int64_t penstock_rank(const penstock_client* client);

// How large arrays travel: "shared memory", "unix" or "tcp".
PENSTOCK_API const char* penstock_transport(const penstock_client* client);

// How long the database may take to answer one call, s; 600 at first: a model may run for minutes.
PENSTOCK_API int penstock_set_timeout(penstock_client* client, double seconds);

// Put other prefixes before names than those of SSKEYOUT and SSKEYIN; "" is none, NULL leaves one as it is.
PENSTOCK_API int penstock_set_prefixes(penstock_client* client, const char* written, const char* read);

// Called in the client's own calls when a signal has arrived: returns 0 to go on, or to end the call. A
// command that is left this way may have been executed.
PENSTOCK_API void penstock_set_signal_check(penstock_client* client, int (*check)(void* context),
                                            void* context);

// ---- What went wrong

// The whole text of the last error. NULL as client, here and below: that of the last penstock_connect of this
// thread that failed.
PENSTOCK_API const char* penstock_error(const penstock_client* client);
// Its parts, "" where it has none: what was being done; the name it is about; the cause.
PENSTOCK_API const char* penstock_error_doing(const penstock_client* client);
PENSTOCK_API const char* penstock_error_subject(const penstock_client* client);
PENSTOCK_API const char* penstock_error_reason(const penstock_client* client);

PENSTOCK_API const char* penstock_version(void);
// "float64" and so on, NULL for a number that is none; bytes of one element, 0 for a number that is none.
PENSTOCK_API const char* penstock_dtype_name(penstock_dtype dtype);
PENSTOCK_API size_t penstock_dtype_size(penstock_dtype dtype);

// ---- Tensors

PENSTOCK_API int penstock_put_tensor(penstock_client* client, const char* name, const penstock_array* array);

// Receive into the caller's array, which must have the dtype and shape of the tensor. A strided one is filled
// through a buffer; otherwise bytes go from the socket to where they belong.
PENSTOCK_API int penstock_get_tensor(penstock_client* client, const char* name, const penstock_array* array);

// Receive into memory that `place` gives once dtype and shape are known.
PENSTOCK_API int penstock_get_tensor_to(penstock_client* client, const char* name, penstock_place place,
                                        void* context);

// Receive into memory that this allocates and the caller frees with penstock_free.
PENSTOCK_API int penstock_get_tensor_new(penstock_client* client, const char* name, penstock_info* info,
                                         void** data);
PENSTOCK_API void penstock_free(void* data);

// dtype and shape alone.
PENSTOCK_API int penstock_tensor_info(penstock_client* client, const char* name, penstock_info* info);
PENSTOCK_API int penstock_tensor_exists(penstock_client* client, const char* name, int* exists);
// No error where there is none.
PENSTOCK_API int penstock_delete_tensor(penstock_client* client, const char* name);

// ---- Snapshots: the fields of one rank at one step

// Store the fields of this rank as one dataset, then announce it in the stream. Nobody sees the snapshot
// before all of its fields are in the database.
//   step   0 or more, greater than that of the snapshot before it in this stream
//   time   physical time, s; NAN: none
// The first snapshot of a stream, whoever's it is, fixes the contract of the stream: its fields' names,
// dtypes, shapes, units and names of dimensions. What differs is refused, and the error names both sides. Of
// a field in blocks the shape of the global array counts, and the blocks of a rank stay where they are.
PENSTOCK_API int penstock_put_snapshot(penstock_client* client, const char* stream, int64_t step, double time,
                                       const penstock_field* fields, int count);

// Tell what is known of a field of a stream, once: it goes with every snapshot that this client puts from
// then on. It is copied. NULL: nothing.
PENSTOCK_API int penstock_describe_field(penstock_client* client, const char* stream, const char* field,
                                         const penstock_about* about);

// The contract of a stream as text, NULL where nobody has put a snapshot: `since <snapshot>`, then a line for
// each field as `T: float32 (128, 128) in blocks, K, dims y x`. It holds until the next call with the client.
PENSTOCK_API int penstock_contract(penstock_client* client, const char* stream, const char** text);

// Remove all that was put in a stream: the snapshots it announces, files too that this host sees, its
// contract, its bound and consumers, that ranks have ended in it. It may then begin anew. Clients that have
// put in it keep to what they know: let them leave first. A snapshot is known by its producer, rank and step
// alone: one that another stream announces too goes with it.
PENSTOCK_API int penstock_forget_stream(penstock_client* client, const char* stream);

// Receive the snapshot at a position of the stream, 0 being the first. `place` is called for each field.
PENSTOCK_API int penstock_get_snapshot(penstock_client* client, const char* stream, int64_t position,
                                       penstock_place place, void* context, penstock_snapshot* snapshot);

// Receive these fields of it alone, each into its array, which has the field's dtype and shape. `snapshot`
// may be NULL.
PENSTOCK_API int penstock_get_snapshot_fields(penstock_client* client, const char* stream, int64_t position,
                                              const penstock_field* fields, int count,
                                              penstock_snapshot* snapshot);

// What its fields are, without their numbers.
PENSTOCK_API int penstock_snapshot_info(penstock_client* client, const char* stream, int64_t position,
                                        penstock_snapshot* snapshot);

// What became of the last snapshot that was put: a skipped one was not stored, a spilled one is in files.
typedef enum penstock_outcome {
  PENSTOCK_STORED = 0,
  PENSTOCK_SKIPPED = 1,
  PENSTOCK_SPILLED = 2,
} penstock_outcome;

PENSTOCK_API penstock_outcome penstock_last_outcome(const penstock_client* client);

// As penstock_place, for a field of the i-th of several snapshots.
typedef void* (*penstock_place_of)(void* context, int i, const char* name, const penstock_info* info);

// Receive snapshots at several positions, ascending, in few round trips (fields by 32 MB): at least one, and
// as many as are whole, one after the other. So an error is always that of the first.
//   most       how many positions there are
//   snapshots  set to an array of `*count`, which holds until the next such call with the client
//   views      NULL: `place` is called for each field. Else room for `most`, set to a view for each snapshot
//              that is received: it has the fields that lie in shared memory, `place` gets the others
PENSTOCK_API int penstock_get_snapshots(penstock_client* client, const char* stream, const int64_t* positions,
                                        int most, penstock_place_of place, void* context,
                                        const penstock_snapshot** snapshots, penstock_view** views,
                                        int* count);

// The names of the snapshots from a position on, `<producer>.<rank>.<step>`. They hold until the next such
// call with the client.
PENSTOCK_API int penstock_snapshot_names(penstock_client* client, const char* stream, int64_t from,
                                         const char* const** names, int64_t* count);

// How many have been announced, by all producers together.
PENSTOCK_API int penstock_announced(penstock_client* client, const char* stream, int64_t* count);

// Tell readers that this rank puts no more snapshots in a stream; ask whether a rank has done so.
PENSTOCK_API int penstock_end_stream(penstock_client* client, const char* stream);
PENSTOCK_API int penstock_stream_ended(penstock_client* client, const char* stream, const char* producer,
                                       int64_t rank, int* ended);

// ---- Bounds of streams: how much is kept, and what happens to a snapshot that finds no room

typedef enum penstock_policy {
  PENSTOCK_BLOCK = 0,        // the put waits, by the client's timeout: PENSTOCK_STREAM_FULL
  PENSTOCK_DROP_OLDEST = 1,  // the oldest are dropped, read or not
  PENSTOCK_DROP_NEWEST = 2,  // it is skipped
  PENSTOCK_THIN = 3,         // of `keep_every` of a rank that find no room one waits, the others are skipped
  PENSTOCK_SPILL = 4,        // it goes to .npy files below `directory`, and is read from there. What the disk
                             // refuses is PENSTOCK_SNAPSHOT, with the path
} penstock_policy;

// At least one of items and bytes (of tensors); what is 0 or NULL is not given.
//   wait  s that a put waits at most, where that is less than the client's timeout; 1e9 at most
typedef struct penstock_bound {
  int64_t items;
  int64_t bytes;
  penstock_policy policy;
  int64_t keep_every;
  const char* directory;
  double wait;
} penstock_bound;

// Bound a stream. Every program may say so: another bound than the one that is set is refused. A stream that
// nobody has bounded blocks at a share of the memory.
PENSTOCK_API int penstock_bound_stream(penstock_client* client, const char* stream,
                                       const penstock_bound* bound);

// How full a stream is.
//   level         items or bytes as part of the bound, whichever is more: 1 is full
//   kept_from     the first position whose data is there
//   waiting       producers
//   acknowledged  up to where the slowest consumer has acknowledged, -1 where there is no consumer
typedef struct penstock_fill {
  double level;
  int64_t items;
  int64_t bytes;
  int64_t announced;
  int64_t kept_from;
  int64_t dropped;
  int64_t skipped;
  int64_t spilled;
  int64_t waiting;
  int64_t acknowledged;
} penstock_fill;

PENSTOCK_API int penstock_stream_fill(penstock_client* client, const char* stream, penstock_fill* fill);
// Every field of the stream's meter, as text; see docs/streams.md.
PENSTOCK_API int penstock_stream_meter(penstock_client* client, const char* stream,
                                       void (*each)(void* context, const char* name, const char* value),
                                       void* context);

// Become a consumer of a stream, or go on as one: what it has not acknowledged is kept (but for
// PENSTOCK_DROP_OLDEST). *position is the first that it has not acknowledged.
PENSTOCK_API int penstock_subscribe(penstock_client* client, const char* stream, const char* consumer,
                                    int64_t* position);
// The positions before this one need not be kept for the consumer. What no consumer needs is removed here.
PENSTOCK_API int penstock_acknowledge(penstock_client* client, const char* stream, const char* consumer,
                                      int64_t position);
// The consumer needs nothing any more, of what is there and of what comes.
PENSTOCK_API int penstock_unsubscribe(penstock_client* client, const char* stream, const char* consumer);
// ---- Shared memory
//
// Where the database is on this host, belongs to the same user and has shared memory, arrays of 32 KB and
// more go through it: a put is one copy, a get another. The calls here save these too. They are the same
// where there is none, and then copy. PENSTOCK_SHARED_MEMORY in the environment is another size than 32 KB,
// in bytes, or 0 to do without. Where it is full, a put waits for room, by the client's timeout:
// PENSTOCK_FULL then says which processes hold it. That of a snapshot goes through the socket instead. A
// child of fork() has neither views nor leases of its parent's.

// Room for an array that is to be put: compute into penstock_view_array(view, 0).data, then put that array,
// whole, with this client: as a tensor, or as a field. It is not copied. From then on it is read-only: it
// belongs to the tensor, and writing to it would change what others read. It can be read until
// penstock_unmap, which also gives back what was not put. The next put needs a lease of its own.
// In a cluster, and where there is no shared memory, it is ordinary memory, and the put copies.
PENSTOCK_API int penstock_lease(penstock_client* client, penstock_dtype dtype, int rank, const int64_t* dims,
                                penstock_view** view);

// A tensor, or the fields of a snapshot, where they lie, to be read only. They stay as they are, whatever
// becomes of their keys, until penstock_unmap. Room that views hold is not there for puts.
PENSTOCK_API int penstock_map_tensor(penstock_client* client, const char* name, penstock_view** view);
PENSTOCK_API int penstock_map_snapshot(penstock_client* client, const char* stream, int64_t position,
                                       penstock_snapshot* snapshot, penstock_view** view);

// The arrays of a view. Name and dims live as long as it does; NULL and an array without data past the last.
PENSTOCK_API int penstock_view_count(const penstock_view* view);
PENSTOCK_API const char* penstock_view_name(const penstock_view* view, int i);
PENSTOCK_API penstock_array penstock_view_array(const penstock_view* view, int i);
// Whether it lies in shared memory.
PENSTOCK_API int penstock_view_is_shared(const penstock_view* view, int i);

// End a view: on any thread, in any order, also after penstock_close. NULL is harmless.
PENSTOCK_API void penstock_unmap(penstock_view* view);

// ---- Flags

PENSTOCK_API int penstock_raise_flag(penstock_client* client, const char* name);
PENSTOCK_API int penstock_flag_raised(penstock_client* client, const char* name, int* raised);
// The flag "stop": all programs of the database are asked to end when they are ready to.
PENSTOCK_API int penstock_request_stop(penstock_client* client);
PENSTOCK_API int penstock_stop_requested(penstock_client* client, int* requested);

// ---- Models

// Store an immutable version name@version on every shard, then make it the live one, last, on all of them in
// one turn. Where a shard refuses it, none is promoted.
//   name     not "snapshots", and not one that begins with "flag.": a model's key is its name
//   model    a TorchScript archive, an AOTInductor package or an ONNX file, of `size` bytes
//   version  1 or more, greater than that of the live one, and never used before
//   device   "CPU", "GPU", "CPU:n" or "GPU:n"; NULL: "CPU"
PENSTOCK_API int penstock_put_model(penstock_client* client, const char* name, const void* model, size_t size,
                                    int64_t version, const char* device);

// The same, and what is known of it besides (docs/models.md), an object in JSON, for example
// "{\"loss\": 0.02}", or NULL. Where `promote` is 0 it is stored only.
PENSTOCK_API int penstock_post_model(penstock_client* client, const char* name, const void* model,
                                     size_t size, int64_t version, const char* device, const char* about,
                                     int promote);

// Make a version that is stored the live one, on every shard: a later one, or one from before.
PENSTOCK_API int penstock_promote_model(penstock_client* client, const char* name, int64_t version);

// Tell whoever posts a model how well a version does here, by any measure of which less is better: a trainer
// may go back to the version before where it is worse, or NaN. The last 1000 of a version are kept. Of a
// version that is not there, or no more, nothing is.
PENSTOCK_API int penstock_report_error(penstock_client* client, const char* name, double value,
                                       int64_t version);

// The version that is live.
PENSTOCK_API int penstock_model_version(penstock_client* client, const char* name, int64_t* version);

// Receive the archive of a model, as it was stored: `place` is asked once for room, as for a tensor of bytes.
//   version  exactly this one; 0: the live one
PENSTOCK_API int penstock_get_model(penstock_client* client, const char* name, int64_t version,
                                    penstock_place place, void* context);

// Run a model in the database: one round trip to one shard, in a cluster too, and nothing is stored.
//   version  exactly this one; 0: the live one
//   outputs  arrays to be filled, of the dtype and shape that the model puts out
PENSTOCK_API int penstock_infer(penstock_client* client, const char* name, int64_t version,
                                const penstock_array* inputs, int n_inputs, const penstock_array* outputs,
                                int n_outputs);
PENSTOCK_API int penstock_infer_to(penstock_client* client, const char* name, int64_t version,
                                   const penstock_array* inputs, int n_inputs, int n_outputs,
                                   penstock_place place, void* context);

// The same by the live version, and which version it was.
PENSTOCK_API int penstock_infer_versioned(penstock_client* client, const char* name,
                                          const penstock_array* inputs, int n_inputs,
                                          const penstock_array* outputs, int n_outputs, int64_t* version);
PENSTOCK_API int penstock_infer_versioned_to(penstock_client* client, const char* name,
                                             const penstock_array* inputs, int n_inputs, int n_outputs,
                                             penstock_place place, void* context, int64_t* version);

// ---- Waiting

// Each returns at once where the thing is there, else PENSTOCK_TIMED_OUT after `timeout` s. The database is
// asked after 1 ms, then ever more seldom: after a tenth of the time waited so far, at least twice a second.

PENSTOCK_API int penstock_wait_tensor(penstock_client* client, const char* name, double timeout);
PENSTOCK_API int penstock_wait_dataset(penstock_client* client, const char* name, double timeout);
PENSTOCK_API int penstock_wait_flag(penstock_client* client, const char* name, double timeout);
// Until a list, or a stream, has at least this many entries; *found (may be NULL) is how many it has.
PENSTOCK_API int penstock_wait_list(penstock_client* client, const char* list, int64_t length, double timeout,
                                    int64_t* found);
// Until a version greater than `after` is live; 0: until there is one at all.
PENSTOCK_API int penstock_wait_model(penstock_client* client, const char* name, int64_t after, double timeout,
                                     int64_t* version);

// ---- Asynchronous puts

// The arrays are copied into a bounded queue, from which a thread with a connection of its own sends them in
// order. Where there is no room the call waits for it, by the client's timeout; nothing is dropped. What went
// wrong is returned by the next asynchronous put, flush or close, once; what was queued behind it is
// discarded, and named. Other calls do not wait for the queue: flush it first where the order matters.
// penstock_put_snapshot does so by itself.

PENSTOCK_API int penstock_put_tensor_async(penstock_client* client, const char* name,
                                           const penstock_array* array);
PENSTOCK_API int penstock_put_snapshot_async(penstock_client* client, const char* stream, int64_t step,
                                             double time, const penstock_field* fields, int count);
// Wait until everything is in the database. PENSTOCK_TIMED_OUT: it is still on its way.
PENSTOCK_API int penstock_flush(penstock_client* client, double timeout);
// How many bytes may be queued, 256 MB at first. A put that is larger is taken where the queue is empty.
PENSTOCK_API int penstock_set_queue(penstock_client* client, size_t bytes);

// ---- Datasets, as SmartRedis lays them out
//
// A dataset belongs to the client it was made with, which has the text of its errors and is closed after it.
// To put one: new, add, put, free. Arrays that are added are read by penstock_put_dataset, so they must live
// until then. To get one: get, look, free.

PENSTOCK_API int penstock_dataset_new(penstock_client* client, const char* name, penstock_dataset** dataset);
PENSTOCK_API void penstock_dataset_free(penstock_dataset* dataset);
PENSTOCK_API int penstock_dataset_add_tensor(penstock_dataset* dataset, const char* name,
                                             const penstock_array* array);
// Append one value to a list of metadata. dtype: FLOAT64, FLOAT32, INT64, INT32, UINT64 or UINT32.
PENSTOCK_API int penstock_dataset_add_scalar(penstock_dataset* dataset, const char* name,
                                             penstock_dtype dtype, const void* value);
PENSTOCK_API int penstock_dataset_add_string(penstock_dataset* dataset, const char* name, const char* value);

PENSTOCK_API int penstock_put_dataset(penstock_client* client, const penstock_dataset* dataset);
// Every tensor that the dataset names must be there: PENSTOCK_INCOMPLETE names those that are not.
PENSTOCK_API int penstock_get_dataset(penstock_client* client, const char* name, penstock_dataset** dataset);
PENSTOCK_API int penstock_dataset_exists(penstock_client* client, const char* name, int* exists);

PENSTOCK_API int penstock_dataset_tensors(const penstock_dataset* dataset);
// Name of the i-th tensor, NULL past the last.
PENSTOCK_API const char* penstock_dataset_tensor_name(const penstock_dataset* dataset, int i);
// The tensor of a name, which lives as long as the dataset.
PENSTOCK_API int penstock_dataset_get_tensor(const penstock_dataset* dataset, const char* name,
                                             penstock_array* array);
// The values of a metadata list: `count` of `dtype` at `values`.
PENSTOCK_API int penstock_dataset_get_scalars(const penstock_dataset* dataset, const char* name,
                                              penstock_dtype* dtype, const void** values, int* count);
// The i-th string of a metadata list, NULL past the last or where there is no such list of strings.
PENSTOCK_API const char* penstock_dataset_get_string(const penstock_dataset* dataset, const char* name,
                                                     int i);

// Append a dataset's name to a list; how long a list is. Lists have no prefix: programs meet in them.
PENSTOCK_API int penstock_append_to_list(penstock_client* client, const char* list, const char* dataset);
PENSTOCK_API int penstock_list_length(penstock_client* client, const char* list, int64_t* length);

#ifdef __cplusplus
}
#endif

#endif  // PENSTOCK_H

// Snapshots in files: <directory>/<id>/<stream>/<snapshot>/<field>.npy, where `id` is the stream's own in its
// database, so that two runs do not share files; the database names <directory>/<id> as one. They are written
// beside their place and then moved there, so that a directory under its own name is whole. The dataset's
// metadata says on which host and where.

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

enum { kPathRoom = 4096 };

static const char kSuffix[] = ".npy";

// A name as one part of a path: a slash would begin another part, and a dot first would leave or hide it.
static void append_part(char* path, const char* name) {
  size_t used = strlen(path);
  for (const char* at = name; *at && used + 4 < kPathRoom; at++) {
    int plain = *at != '/' && !(at == name && *at == '.');
    used += (size_t)snprintf(path + used, kPathRoom - used, plain ? "%c" : "%%%02X", (unsigned char)*at);
  }
}

static void append_text(char* path, const char* text) {
  size_t used = strlen(path);
  snprintf(path + used, kPathRoom - used, "%s", text);
}

// Make a directory and those above it.
static int make_directory(char* path) {
  for (char* at = path + 1;; at++) {
    if (*at && *at != '/') continue;
    char kept = *at;
    *at = '\0';
    int failed = mkdir(path, 0777) && errno != EEXIST;
    *at = kept;
    if (failed || !kept) return failed ? -1 : 0;
  }
}

static int has_suffix(const char* name, const char* suffix) {
  size_t length = strlen(name), behind = strlen(suffix);
  return length >= behind && !strcmp(name + length - behind, suffix);
}

// The arrays in a directory, and the directory where nothing else is in it. Whether it is gone.
static int remove_arrays(const char* path) {
  DIR* directory = opendir(path);
  if (!directory) return 0;
  for (struct dirent* one; (one = readdir(directory));)
    if (has_suffix(one->d_name, kSuffix)) unlinkat(dirfd(directory), one->d_name, 0);
  closedir(directory);
  return !rmdir(path);
}

static int failed(penstock_client* client, const char* name, const char* path) {
  return psk_fail(client, PENSTOCK_SNAPSHOT, name, "the snapshot cannot be spilled to %s: %s", path,
                  strerror(errno));
}

static int write_fields(penstock_client* client, const char* draft, const char* name,
                        const penstock_field* fields, int count) {
  for (int i = 0; i < count; i++) {
    char path[kPathRoom] = "", why[kPathRoom + 256];
    append_text(path, draft);
    append_text(path, "/");
    append_part(path, fields[i].name);
    append_text(path, kSuffix);
    int status = psk_npy_write(path, &fields[i].array, why, sizeof why);
    if (status)
      return psk_fail(client, status, status == PENSTOCK_TENSOR ? fields[i].name : name,
                      "the snapshot cannot be spilled to %s", why);
  }
  return 0;
}

static int note_place(psk_metadata_list* metadata, const char* path) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  int status = psk_add_string(metadata, PSK_SPILLED, host);
  return status ? status : psk_add_string(metadata, PSK_SPILLED, path);
}

// Where a snapshot goes, and where it is written first. Returns -1 where that is too long.
static int make_paths(const char* directory, const char* stream, const char* name, char* path, char* draft) {
  char above[kPathRoom] = "";
  append_text(above, directory);
  append_text(above, "/");
  append_part(above, stream);
  append_text(path, above);
  append_text(path, "/");
  append_part(path, name);
  append_text(draft, above);
  append_text(draft, "/.");
  append_part(draft, name);
  errno = ENAMETOOLONG;
  return strlen(draft) + 300 > kPathRoom ? -1 : 0;
}

int psk_spill(penstock_client* client, const char* directory, const char* stream, const char* name,
              const penstock_field* fields, int count, psk_metadata_list* metadata) {
  char path[kPathRoom] = "", draft[kPathRoom] = "";
  if (make_paths(directory, stream, name, path, draft)) return failed(client, name, path);
  remove_arrays(draft);  // of a program that was killed
  if (make_directory(draft)) return failed(client, name, draft);
  int status = write_fields(client, draft, name, fields, count);
  if (!status) {
    remove_arrays(path);  // of the same step, put before
    if (rename(draft, path)) status = failed(client, name, path);
  }
  if (status)
    remove_arrays(draft);
  else if (note_place(metadata, path))
    status = psk_fail(client, PENSTOCK_MEMORY, name, "no memory for metadata");
  return status;
}

// Host and directory of a spilled snapshot, to be freed by psk_free_strings.
static char** place_of(const psk_bytes* packed, int* count) {
  char** place = psk_packed_strings(packed, count);
  if (place && *count == 2) return place;
  psk_free_strings(place, *count);
  return NULL;
}

static int load_one(penstock_client* client, char** place, const char* name, psk_sink* sink) {
  char path[kPathRoom] = "", why[kPathRoom + 256], host[256] = "";
  append_text(path, place[1]);
  append_text(path, "/");
  append_part(path, sink->name);
  append_text(path, kSuffix);
  if (sink->piece && !sink->place) {
    sink->place = psk_own_piece;
    sink->context = sink->piece;
  }
  int status = psk_npy_read(path, sink, why, sizeof why);
  gethostname(host, sizeof host - 1);
  if (status)
    psk_fail(client, status, name, "it was spilled to files on host %s, and on %s cannot be read: %s",
             place[0], host, why);
  return status;
}

int psk_load_spilled(penstock_client* client, const psk_bytes* packed, const char* name, psk_sink* sinks,
                     int count) {
  int parts = 0, status = 0;
  char** place = place_of(packed, &parts);
  if (!place) return psk_fail(client, PENSTOCK_SNAPSHOT, name, "where it was spilled to cannot be read");
  for (int i = 0; !status && i < count; i++) status = load_one(client, place, name, &sinks[i]);
  psk_free_strings(place, parts);
  return status;
}

int psk_check_spilled(penstock_client* client, const char* stream, const char* name,
                      const psk_bytes* packed) {
  psk_sink* sinks = calloc((size_t)client->n_found + 1, sizeof *sinks);
  if (!sinks) return psk_fail(client, PENSTOCK_MEMORY, name, "no memory for a snapshot");
  for (int i = 0; i < client->n_found; i++) {
    sinks[i].name = client->found_fields[i].name;
    sinks[i].info = &client->found_fields[i].info;
  }
  int status = psk_load_spilled(client, packed, name, sinks, client->n_found);
  free(sinks);
  if (!status) status = psk_contract_check_found(client, stream, name);
  if (status != PENSTOCK_SNAPSHOT || strstr(client->error.reason, kSuffix)) return status;
  char reason[sizeof client->error.reason];
  int parts = 0;
  char** place = place_of(packed, &parts);
  memcpy(reason, client->error.reason, sizeof reason);
  client->error.status = 0;
  psk_fail(client, status, name, "%s; it was read from the files in %s", reason, place ? place[1] : "?");
  psk_free_strings(place, parts);
  return status;
}

// Whether a path is a snapshot's of a stream: nothing else is removed, whatever damaged metadata name.
static int is_place(const char* path, const char* stream, const char* name) {
  char tail[kPathRoom] = "/";
  append_part(tail, stream);
  append_text(tail, "/");
  append_part(tail, name);
  return path[0] == '/' && has_suffix(path, tail);
}

// What this host does not see is left to those who do.
void psk_remove_spilled(const psk_bytes* packed, const char* stream, const char* name, int forget) {
  int parts = 0;
  char** place = place_of(packed, &parts);
  if (!place) return;
  int gone = is_place(place[1], stream, name) && remove_arrays(place[1]);
  for (int above = 0; gone && forget && above < 2; above++) {  // the stream's, and that of the id
    *strrchr(place[1], '/') = '\0';
    gone = *place[1] && !rmdir(place[1]);
  }
  psk_free_strings(place, parts);
}

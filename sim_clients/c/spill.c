// Snapshots in files: <directory>/<stream>/<snapshot>/<field>.npy. They are written beside their place and
// then moved there, so that a directory under its own name is whole. The dataset's metadata says on which
// host and where.

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

static void remove_directory(const char* path) {
  DIR* directory = opendir(path);
  if (!directory) return;
  for (struct dirent* one; (one = readdir(directory));)
    if (strcmp(one->d_name, ".") && strcmp(one->d_name, "..")) unlinkat(dirfd(directory), one->d_name, 0);
  closedir(directory);
  rmdir(path);
}

static int failed(penstock_client* client, const char* name, const char* path) {
  return psk_fail(client, PENSTOCK_REFUSED, name, "the snapshot cannot be spilled to %s: %s", path,
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

int psk_spill(penstock_client* client, const char* directory, const char* stream, const char* name,
              const penstock_field* fields, int count, psk_metadata_list* metadata) {
  char above[kPathRoom] = "", path[kPathRoom] = "", draft[kPathRoom] = "";
  append_text(above, directory);
  append_text(above, "/");
  append_part(above, stream);
  append_text(path, above);
  append_text(path, "/");
  append_part(path, name);
  append_text(draft, above);
  append_text(draft, "/.");
  append_part(draft, name);
  if (strlen(draft) + 300 > kPathRoom) {
    errno = ENAMETOOLONG;
    return failed(client, name, path);
  }
  remove_directory(draft);  // of a program that was killed
  if (make_directory(draft)) return failed(client, name, draft);
  int status = write_fields(client, draft, name, fields, count);
  if (!status) {
    remove_directory(path);  // of the same step in an earlier run
    if (rename(draft, path)) status = failed(client, name, path);
  }
  if (status)
    remove_directory(draft);
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

int psk_load_spilled(penstock_client* client, const psk_bytes* packed, const char* name, psk_sink* sinks,
                     int count) {
  int parts = 0, status = 0;
  char** place = place_of(packed, &parts);
  if (!place) return psk_fail(client, PENSTOCK_SNAPSHOT, name, "where it was spilled to cannot be read");
  for (int i = 0; !status && i < count; i++) {
    char path[kPathRoom] = "", why[kPathRoom + 256], host[256] = "";
    append_text(path, place[1]);
    append_text(path, "/");
    append_part(path, sinks[i].name);
    append_text(path, kSuffix);
    if (sinks[i].piece) {
      sinks[i].place = psk_own_piece;
      sinks[i].context = sinks[i].piece;
    }
    status = psk_npy_read(path, &sinks[i], why, sizeof why);
    gethostname(host, sizeof host - 1);
    if (status)
      psk_fail(client, status, name, "it was spilled to files on host %s, and on %s cannot be read: %s",
               place[0], host, why);
  }
  psk_free_strings(place, parts);
  return status;
}

// What this host does not see is left to those who do.
void psk_remove_spilled(const psk_bytes* packed) {
  int parts = 0;
  char** place = place_of(packed, &parts);
  if (!place) return;
  remove_directory(place[1]);
  psk_free_strings(place, parts);
}

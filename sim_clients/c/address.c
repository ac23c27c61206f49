// Where the database is, and who this process is: what the environment says, in the words of address.py and
// identity.py.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static const char kUnix[] = "unix://";

static int add_endpoint(penstock_client* client, const char* text, size_t length, const char* whole) {
  psk_endpoint endpoint = {0};
  const char* colon = NULL;
  while (length && *text == ' ') text++, length--;
  while (length && text[length - 1] == ' ') length--;
  for (size_t i = 0; i < length; i++)
    if (text[i] == ':') colon = text + i;
  size_t host = colon ? (size_t)(colon - text) : 0, digits = colon ? length - host - 1 : 0;
  const char* name = text;
  if (host > 1 && name[0] == '[' && name[host - 1] == ']') name++, host -= 2;  // IPv6
  int good = host > 0 && host < sizeof endpoint.host && digits > 0 && digits < 6;
  for (size_t i = 0; good && i < digits; i++) {
    good = colon[1 + i] >= '0' && colon[1 + i] <= '9';
    endpoint.port = 10 * endpoint.port + (colon[1 + i] - '0');
  }
  if (!good || endpoint.port < 1 || endpoint.port > 65535)
    return psk_fail(client, PENSTOCK_ADDRESS, whole, "'%.*s' is not host:port", (int)length, text);
  memcpy(endpoint.host, name, host);
  client->address.endpoints[client->address.count++] = endpoint;
  return 0;
}

static int parse_unix(penstock_client* client, const char* text) {
  const char* path = text + sizeof kUnix - 1;
  psk_endpoint* endpoint = client->address.endpoints;
  if (!*path || strlen(path) >= sizeof endpoint->host)
    return psk_fail(client, PENSTOCK_ADDRESS, text, "a Unix socket's path has 1 to 107 characters");
  strcpy(endpoint->host, path);
  client->address.count = 1;
  return 0;
}

int psk_address_parse(penstock_client* client, const char* text) {
  if (!text) {
    text = getenv("SSDB");
    if (!text || !*text)
      return psk_fail(client, PENSTOCK_ADDRESS, "",
                      "the environment has no SSDB: start this program with exp.start(..., database=db), or "
                      "set SSDB=host:port or SSDB=unix://path");
  }
  size_t count = 1;
  for (const char* at = text; *at; at++) count += *at == ',';
  client->address.text = strdup(text);
  client->address.endpoints = calloc(count, sizeof *client->address.endpoints);
  if (!client->address.text || !client->address.endpoints)
    return psk_fail(client, PENSTOCK_MEMORY, text, "no memory for an address");
  text = client->address.text;
  if (!strncmp(text, kUnix, sizeof kUnix - 1)) return parse_unix(client, text);
  for (const char *at = text, *end; at; at = end ? end + 1 : NULL) {
    end = strchr(at, ',');
    int status = add_endpoint(client, at, end ? (size_t)(end - at) : strlen(at), text);
    if (status) return status;
  }
  return 0;
}

int psk_identity(penstock_client* client) {
  static const char* const kRanks[] = {"PENSTOCK_RANK", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK",
                                       "SLURM_PROCID"};
  for (size_t i = 0; i < sizeof kRanks / sizeof *kRanks; i++) {
    const char* text = getenv(kRanks[i]);
    if (!text) continue;
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 18)
      return psk_fail(client, PENSTOCK_IDENTITY, kRanks[i],
                      "the environment has %s='%s', a rank is a number of 0 or more", kRanks[i], text);
    client->rank = strtoll(text, NULL, 10);
    break;
  }
  char own[40];
  snprintf(own, sizeof own, "process-%ld", (long)getpid());
  const char* name = getenv("PENSTOCK_NAME");
  return penstock_set_identity(client, name && *name ? name : own, -1);
}

// Names, shapes in words, slots, packed metadata, addresses.
#include "check.h"
#include "internal.h"

static void check_slots(void) {
  CHECK(psk_slot("123456789", 9) == 0x31C3 % PSK_SLOTS);  // the check value of CRC-16/XMODEM
  CHECK(psk_slot("{user1000}.following", 20) == psk_slot("user1000", 8));
  CHECK(psk_slot("foo{}{bar}", 10) == psk_slot("foo{}{bar}x", 10));
  CHECK(psk_slot("foo{{bar}}zap", 13) == psk_slot("{bar", 4));
}

static void check_dtypes(void) {
  for (int i = 1; i <= 15; i++) {
    penstock_dtype dtype = (penstock_dtype)i;
    CHECK(penstock_dtype_size(dtype) > 0 && penstock_dtype_name(dtype));
    CHECK(psk_dtype_of_wire(psk_wire_dtype(dtype)) == dtype);
  }
  CHECK(penstock_dtype_size((penstock_dtype)0) == 0 && !penstock_dtype_name((penstock_dtype)16));
  CHECK(!psk_dtype_of_wire("STRING"));
  char text[64];
  CHECK_TEXT(psk_describe(text, sizeof text, PENSTOCK_FLOAT32, 2, (int64_t[]){3, 4}), "float32 (3, 4)");
  CHECK_TEXT(psk_describe(text, sizeof text, PENSTOCK_INT8, 1, (int64_t[]){3}), "int8 (3,)");
  CHECK_TEXT(psk_describe(text, 10, PENSTOCK_FLOAT32, 2, (int64_t[]){3, 4}), "float32 (");
  CHECK(psk_nbytes(PENSTOCK_FLOAT64, 2, (int64_t[]){INT64_MAX / 2, 8}) == 0);
  CHECK(psk_nbytes(PENSTOCK_FLOAT64, 2, (int64_t[]){3, 4}) == 96);
}

static void check_metadata(void) {
  psk_metadata_list list = {0};
  double number = 1.5;
  size_t length;
  CHECK(!psk_add_scalar(&list, "time", PENSTOCK_FLOAT64, &number));
  CHECK(!psk_add_string(&list, "who", "me") && !psk_add_string(&list, "who", ""));
  CHECK(psk_add_string(&list, "time", "no") == PENSTOCK_INVALID);
  CHECK(psk_add_scalar(&list, "x", PENSTOCK_INT8, "") == PENSTOCK_INVALID);
  CHECK(list.count == 2);
  const psk_bytes* who = &psk_find_metadata(&list, "who")->packed;
  CHECK(who->used == 1 + 8 + 2 + 8);
  CHECK(!memcmp(psk_packed_string(who, 0, &length), "me", 2) && length == 2);
  CHECK(psk_packed_string(who, 1, &length) && length == 0);
  CHECK(!psk_packed_string(who, 2, &length) && !psk_packed_string(who, -1, &length));
  for (size_t cut = 0; cut < who->used; cut++) {  // whatever is cut off, nothing past the end is read
    psk_bytes shorter = {malloc(cut + 1), cut, cut + 1};
    memcpy(shorter.at, who->at, cut);
    for (int i = 0; psk_packed_string(&shorter, i, &length); i++) CHECK(length <= cut);
    free(shorter.at);
  }
  char huge[] = "\7\xff\xff\xff\xff\xff\xff\xff\xffxx";
  CHECK(!psk_packed_string(&(psk_bytes){huge, sizeof huge - 1, sizeof huge}, 0, &length));
  psk_free_metadata(&list);
}

static void check_models(void) {
  static penstock_client client;
  CHECK(!psk_check_model(&client, "closure") && !psk_check_model(&client, "flags"));
  static const char* const kTaken[] = {"flag.stop", "flag.", "snapshots", "a b", ""};
  for (size_t i = 0; i < sizeof kTaken / sizeof *kTaken; i++) {
    client.error.status = 0;
    CHECK(psk_check_model(&client, kTaken[i]) == PENSTOCK_NAME);
  }
  client.error.status = 0;
  CHECK(psk_check_model(&client, "flag.stop") &&
        strstr(client.error.reason, "the keys of flags begin with flag."));
  client.error.status = 0;
  CHECK(psk_check_model(&client, "snapshots") && strstr(client.error.reason, "the stream of snapshots"));
}

static void check_address(const char* text, const char* says) {
  penstock_client* client = NULL;
  CHECK(penstock_connect(text, 0.01, &client) == PENSTOCK_ADDRESS && !client);
  if (!strstr(penstock_error(NULL), says)) {
    fprintf(stderr, "'%s' is not in: %s\n", says, penstock_error(NULL));
    failures++;
  }
}

static void check_addresses(void) {
  unsetenv("SSDB");
  check_address(NULL, "the environment has no SSDB");
  check_address("", "'' is not host:port");
  check_address("nowhere", "'nowhere' is not host:port");
  check_address("a:1,b:0", "'b:0' is not host:port (address: 'a:1,b:0')");
  check_address("a:65536", "'a:65536' is not host:port");
  check_address(":12", "':12' is not host:port");
  check_address("a:1,", "'' is not host:port");
  check_address("unix://", "a Unix socket's path");
  penstock_client* client = NULL;
  CHECK(penstock_connect("unix:///nowhere/at/all", 0.01, &client) == PENSTOCK_UNAVAILABLE && !client);
  CHECK_TEXT(penstock_error_doing(NULL), "connect");
  CHECK(strstr(penstock_error(NULL), "No such file or directory") != NULL);
  setenv("PMI_RANK", "three", 1);
  CHECK(penstock_connect("unix:///nowhere", 0.01, &client) == PENSTOCK_IDENTITY);
  unsetenv("PMI_RANK");
}

int main(void) {
  check_slots();
  check_dtypes();
  check_metadata();
  check_models();
  check_addresses();
  return report();
}

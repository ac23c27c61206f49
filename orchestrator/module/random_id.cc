#include "random_id.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>

namespace penstock {

Result<std::string> RandomId(size_t digits) {
  unsigned char bytes[32];
  size_t size = digits / 2;
  if (size > sizeof bytes || getrandom(bytes, size, 0) != static_cast<ssize_t>(size))
    return Status::Error(std::string("no random id: ") + std::strerror(errno));
  std::string id;
  for (size_t i = 0; i < size; ++i) {
    id += "0123456789abcdef"[bytes[i] >> 4];
    id += "0123456789abcdef"[bytes[i] & 15];
  }
  return id;
}

}  // namespace penstock

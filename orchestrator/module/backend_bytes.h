// Text as a backend takes it, and back. What takes it does not copy: the text must live on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend.h"

namespace penstock {

inline std::string ToString(backend::Bytes bytes) { return {bytes.data, bytes.size}; }
inline backend::Bytes ToBytes(std::string_view text) { return {text.data(), text.size()}; }
inline std::vector<backend::Bytes> ToBytes(const std::vector<std::string>& texts) {
  std::vector<backend::Bytes> bytes;
  bytes.reserve(texts.size());
  for (const std::string& text : texts) bytes.push_back(ToBytes(text));
  return bytes;
}

}  // namespace penstock

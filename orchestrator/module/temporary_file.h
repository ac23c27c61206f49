// A model file for libraries that read only files: in a directory of its own that only this user can enter,
// gone when this is.
#pragma once

#include <string>

#include "backend.h"

namespace penstock {

class TemporaryFile {
 public:
  /// With the pieces of `source` in it. Throws when there is no place or no room for it.
  TemporaryFile(const backend::ModelSource& source, const std::string& suffix);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string directory_;
  std::string path_;
};

}  // namespace penstock

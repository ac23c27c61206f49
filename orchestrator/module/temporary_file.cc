#include "temporary_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "write_all.h"

namespace penstock {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), "the model needs a file of its own: " + what);
}

std::string PrivateDirectory() {
  std::error_code unknown;
  auto parent = std::filesystem::temp_directory_path(unknown);
  std::string name = (unknown ? std::filesystem::path("/tmp") : parent) / "penstock-model-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) Fail(name);
  return name;
}

}  // namespace

TemporaryFile::TemporaryFile(const backend::ModelSource& source, const std::string& suffix)
    : directory_(PrivateDirectory()), path_(directory_ + "/model" + suffix) {
  int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  try {
    if (file < 0) Fail(path_);
    for (size_t i = 0; i < source.piece_count; ++i) {
      if (!WriteAll(file, {source.pieces[i].data, source.pieces[i].size})) Fail(path_);
    }
    close(file);
  } catch (...) {
    if (file >= 0) close(file);
    std::error_code left;
    std::filesystem::remove_all(directory_, left);
    throw;
  }
}

TemporaryFile::~TemporaryFile() {
  std::error_code left;
  std::filesystem::remove_all(directory_, left);
}

}  // namespace penstock

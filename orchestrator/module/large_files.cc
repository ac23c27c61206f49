#include "large_files.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "disk_buffer.h"
#include "module_state.h"
#include "server_lock.h"

namespace penstock {
namespace {

constexpr size_t kLarge = 32 << 20;

std::string Folder() {
  if (!state().options.model_files.empty()) return state().options.model_files;
  std::error_code unknown;
  auto folder = std::filesystem::temp_directory_path(unknown);
  return unknown ? "/tmp" : folder.string();
}

}  // namespace

void MoveToDiskIfLarge(ModelFile& file) {
  if (file.on_disk() || file.size() < kLarge || state().options.model_files == kInMemory) return;
  auto moved = WriteToDisk(file.pieces(), Folder());
  if (!moved.ok()) {
    redis::Log(nullptr, "notice", "the file of a model of %zu bytes stays in memory: %s", file.size(),
               moved.status().text().c_str());
    return;
  }
  std::vector<BufferPtr> before;
  Cancellation never;
  ServerLock lock(never, ServerLock::For::kLooking);
  if (lock) before = file.MoveToDisk(std::move(*moved));
  // `lock` is released first: to drop what was held takes its time.
}

}  // namespace penstock

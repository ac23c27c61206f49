#include "model_file.h"

#include <algorithm>

namespace penstock {

size_t ModelFile::size() const {
  size_t bytes = 0;
  for (const BufferPtr& piece : pieces_) bytes += piece->size();
  return bytes;
}

std::string_view ModelFile::Part(size_t start, size_t count, std::string* scratch) const {
  scratch->clear();
  for (const BufferPtr& piece : pieces_) {
    if (start >= piece->size()) {
      start -= piece->size();
      continue;
    }
    std::string_view part = piece->view().substr(start, count - scratch->size());
    if (scratch->empty() && part.size() == count) return part;
    scratch->append(part);
    start = 0;
    if (scratch->size() == count) break;
  }
  return *scratch;
}

bool ModelFile::SameAs(const ModelFile& other) const {
  if (size() != other.size()) return false;
  size_t start = 0;
  std::string scratch;
  return std::all_of(pieces_.begin(), pieces_.end(), [&](const BufferPtr& piece) {
    std::string_view part = other.Part(start, piece->size(), &scratch);
    start += piece->size();
    return piece->view() == part;
  });
}

std::vector<BufferPtr> ModelFile::MoveToDisk(BufferPtr there) {
  std::vector<BufferPtr> before{std::move(there)};
  before.swap(pieces_);
  on_disk_ = true;
  return before;
}

void ModelFile::NeedNoMemory() const {
  if (!on_disk_) return;
  for (const BufferPtr& piece : pieces_) DiscardPages(piece->view());
}

}  // namespace penstock

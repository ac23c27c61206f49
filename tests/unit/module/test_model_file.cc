#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "check.h"
#include "disk_buffer.h"
#include "model_file.h"

using namespace penstock;

namespace fs = std::filesystem;

namespace {

ModelFile Of(std::initializer_list<const char*> pieces) {
  std::vector<BufferPtr> buffers;
  for (const char* piece : pieces) buffers.push_back(CopyBytes(piece));
  return ModelFile(std::move(buffers));
}

// Where the tests are compiled; what writes there looks first whether that is in memory itself.
const std::string kFolder = fs::current_path().string();

bool InMemory(const Result<BufferPtr>& there) {
  return penstock::test::Text(there) == kFolder + " is itself in memory";
}

size_t FilesIn(const std::string& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

void AFileIsOneTextHoweverItIsCut() {
  ModelFile file = Of({"abc", "", "de", "fghi"});
  const std::string whole = "abcdefghi";
  std::string scratch;
  CHECK_EQUAL(file.size(), whole.size());
  for (size_t start = 0; start < whole.size(); ++start) {
    for (size_t count = 1; start + count <= whole.size(); ++count) {
      CHECK_EQUAL(file.Part(start, count, &scratch), whole.substr(start, count));
    }
  }
  CHECK(file.SameAs(Of({"abcdefghi"})) && Of({"abcdefghi"}).SameAs(file));
  CHECK(!file.SameAs(Of({"abcdefghX"})) && !file.SameAs(Of({"abcdefgh"})));
}

void OnDiskItIsTheSameAndTakesNoMemory() {
  ModelFile file = Of({"abc", "", "de", "fghi"});
  size_t files = FilesIn(kFolder);
  auto there = WriteToDisk(file.pieces(), kFolder);
  if (InMemory(there)) return;
  CHECK_EQUAL(penstock::test::Text(there), "ok");
  if (!there.ok()) return;
  CHECK_EQUAL(FilesIn(kFolder), files);  // it has no name
  CHECK_EQUAL(file.MoveToDisk(*there).size(), 4u);
  CHECK(file.on_disk() && file.SameAs(Of({"abcdefghi"})));
  CHECK_EQUAL(file.size(), 9u);
  CHECK_EQUAL(file.MemoryBytes(), 0u);
  file.NeedNoMemory();
  std::string scratch;
  CHECK_EQUAL(file.Part(2, 5, &scratch), "cdefg");
}

void AFolderThatIsNotThereIsNamed() {
  std::string text = penstock::test::Text(WriteToDisk(Of({"abc"}).pieces(), "/not/there"));
  CHECK(text.find("/not/there") != std::string::npos);
}

void AFolderInMemoryGainsNothing() {
  if (!fs::exists("/dev/shm")) return;
  std::string text = penstock::test::Text(WriteToDisk(Of({"abc"}).pieces(), "/dev/shm"));
  CHECK_EQUAL(text, "/dev/shm is itself in memory");
}

void AFullDiskIsAnError() {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 4;
  setrlimit(RLIMIT_FSIZE, &small);
  auto there = WriteToDisk(Of({"abc", "def"}).pieces(), kFolder);
  setrlimit(RLIMIT_FSIZE, &before);
  if (InMemory(there)) return;
  CHECK(!there.ok() && there.status().text().find("File too large") != std::string::npos);
}

}  // namespace

int main() {
  AFileIsOneTextHoweverItIsCut();
  OnDiskItIsTheSameAndTakesNoMemory();
  AFolderThatIsNotThereIsNamed();
  AFolderInMemoryGainsNothing();
  AFullDiskIsAnError();
  return penstock::test::Report();
}

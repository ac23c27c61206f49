#include "machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "arguments.h"

namespace penstock {
namespace {

// The first line of a file that is a number; none for "max", and where there is no such file.
std::optional<int64_t> NumberIn(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return ParseInteger(line);
}

// The limits of the control group and of those above it: each of them holds.
int64_t LeastLimit(const std::string& root, std::string group, const char* name, int64_t least) {
  for (;;) {
    auto limit = NumberIn(root + group + "/" + name);
    if (limit && *limit > 0) least = std::min(least, *limit);
    if (group.empty() || group == "/") return least;
    group.resize(group.rfind('/'));
  }
}

}  // namespace

int64_t MachineBytes() {
  int64_t least = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // for example "4:memory:/job_7" or "0::/user.slice"
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    if (controllers.empty()) least = LeastLimit("/sys/fs/cgroup", group, "memory.max", least);
    if (controllers == "memory")
      least = LeastLimit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", least);
  }
  return least;
}

}  // namespace penstock

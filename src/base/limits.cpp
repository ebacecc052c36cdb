#include "base/limits.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>
#include <string>

namespace effllm {
namespace {

namespace fs = std::filesystem;

constexpr double kNone = std::numeric_limits<double>::infinity();

// The number that a file begins with; none where there is none, or where it says "max".
double number_in(const fs::path& file) {
  std::ifstream in(file);
  double n = 0;
  return in >> n && n > 0 ? n : kNone;
}

// Whether a comma separated list of controllers names this one.
bool names(const std::string& list, const std::string& controller) {
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');)
    if (part == controller) return true;
  return false;
}

// The least of `limit` in the group and those above it. Inside a container the path may be one of the host, which is
// not mounted: then the mounted root is the container's own group.
double least(const fs::path& root, const fs::path& group, const std::function<double(const fs::path&)>& limit) {
  double found = limit(root);
  fs::path folder = root;
  for (const fs::path& part : group.relative_path()) {
    folder /= part;
    found = std::min(found, limit(folder));
  }
  return found;
}

// Over the groups of /proc/self/cgroup, lines "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers.
double least_of(const Cgroups& where, const std::string& controller, const std::function<double(const fs::path&)>& v1,
                const std::function<double(const fs::path&)>& v2) {
  double found = std::min(v2(where.mount), v1(where.mount / controller));
  std::ifstream in(where.membership);
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    if (controllers.empty())
      for (const fs::path& root : {where.mount, where.mount / "unified"})
        found = std::min(found, least(root, group, v2));
    else if (names(controllers, controller))
      for (const fs::path& root : {where.mount / controller, where.mount / controllers})
        found = std::min(found, least(root, group, v1));
  }
  return found;
}

double status_bytes(const char* field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(field)) return 1024 * std::stod(line.substr(std::string_view(field).size()));
  return 0;
}

}  // namespace

double cgroup_memory_limit(const Cgroups& where) {
  return least_of(
      where, "memory", [](const fs::path& g) { return number_in(g / "memory.limit_in_bytes"); },
      [](const fs::path& g) { return number_in(g / "memory.max"); });
}

double cgroup_cpu_limit(const Cgroups& where) {
  return least_of(
      where, "cpu",
      [](const fs::path& g) {  // -1 for none
        const double quota = number_in(g / "cpu.cfs_quota_us"), period = number_in(g / "cpu.cfs_period_us");
        return quota < kNone && period < kNone ? quota / period : kNone;
      },
      [](const fs::path& g) {  // "max 100000" or "200000 100000"
        std::ifstream in(g / "cpu.max");
        double quota = 0, period = 0;
        return in >> quota >> period && quota > 0 && period > 0 ? quota / period : kNone;
      });
}

bool has_room(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return false;
  munmap(p, bytes);
  return true;
}

double resident_bytes() { return status_bytes("VmRSS:"); }

double memory_limit() {
  double limit = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  limit = std::min(limit, cgroup_memory_limit());
  const double resident = resident_bytes();
  for (const auto& [resource, used] : {std::pair{RLIMIT_AS, "VmSize:"}, {RLIMIT_DATA, "VmData:"}}) {
    rlimit r{};
    if (getrlimit(resource, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
      limit = std::min(limit, std::max(0.0, static_cast<double>(r.rlim_cur) - status_bytes(used)) + resident);
  }
  return limit;
}

}  // namespace effllm

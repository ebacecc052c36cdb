#include "base/version.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

#include "git_version.h"

namespace effllm {

const BuildInfo& build_info() {
  static const BuildInfo info{EFFLLM_VERSION, EFFLLM_GIT, EFFLLM_BUILD_TYPE,
                              fmt::format("GCC-compatible {}", __VERSION__)};
  return info;
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 && name[0] ? name : "unknown";
}

std::string utc_now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

}  // namespace effllm

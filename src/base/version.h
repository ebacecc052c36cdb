// What this program is, and where it runs: for provenance and `effllm version`.
#pragma once
#include <string>

namespace effllm {

struct BuildInfo {
  std::string version, git, build_type, compiler;
};
const BuildInfo& build_info();
std::string cpu_model();
std::string host_name();
std::string utc_now();  // "2026-01-31T12:00:00Z"

}  // namespace effllm

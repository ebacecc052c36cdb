// What the system lets this process use: memory and CPUs, by what the machine has, control groups and ulimit.
#pragma once
#include <cstddef>
#include <filesystem>

namespace effllm {

// Where control groups are: the process's list of them, and where their trees are mounted. Tests put others here.
struct Cgroups {
  std::filesystem::path membership = "/proc/self/cgroup", mount = "/sys/fs/cgroup";
};

// The least limit of the process's group and of all groups above it, version 1 or 2; infinite where there is none.
double cgroup_memory_limit(const Cgroups& where = {});  // bytes
double cgroup_cpu_limit(const Cgroups& where = {});     // CPUs

// Bytes that may be resident at once: the machine's memory, the cgroup's limit, and what `ulimit -v` and `ulimit -d`
// leave for more than what is mapped already.
double memory_limit();

double resident_bytes();  // that this process has of them now

// Whether the system would map so many bytes more now: to ask before calls into libraries that end the process where
// they get none.
bool has_room(size_t bytes);

}  // namespace effllm

#include "base/limits.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "store/temp_folder.h"

using namespace effllm;

namespace {

struct Groups {
  TempFolder folder{"cgroups"};
  Cgroups where{folder.path / "membership", folder.path / "mount"};
  void put(const std::string& file, const std::string& text) const {
    const auto path = where.mount / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void member(const std::string& text) const { std::ofstream(where.membership) << text; }
};

}  // namespace

TEST_CASE("limits: without control groups there is none") {
  const Groups g;
  CHECK(std::isinf(cgroup_memory_limit(g.where)));
  CHECK(std::isinf(cgroup_cpu_limit(g.where)));
  CHECK(memory_limit() > 0);
  CHECK(std::isfinite(memory_limit()));
}

TEST_CASE("limits: version 2, the least of the own group and all above it") {
  const Groups g;
  g.member("0::/user/slice/job\n");
  g.put("memory.max", "max\n");
  g.put("user/memory.max", "3000000\n");
  g.put("user/slice/memory.max", "1000000\n");
  g.put("user/slice/job/memory.max", "2000000\n");
  g.put("other/memory.max", "5\n");
  CHECK(cgroup_memory_limit(g.where) == 1000000);
  g.put("user/slice/cpu.max", "150000 100000\n");
  g.put("user/slice/job/cpu.max", "max 100000\n");
  CHECK(cgroup_cpu_limit(g.where) == 1.5);
}

TEST_CASE("limits: version 2 in a container, whose own group is the mounted root") {
  const Groups g;
  g.member("0::/docker/of/the/host\n");
  g.put("memory.max", "700000\n");
  CHECK(cgroup_memory_limit(g.where) == 700000);
  g.member("0::/\n");
  CHECK(cgroup_memory_limit(g.where) == 700000);
}

TEST_CASE("limits: version 1, each controller in a tree of its own") {
  const Groups g;
  g.member("12:cpu,cpuacct:/batch\n7:memory:/batch/job7\n1:name=systemd:/x\n0::/x\n");
  g.put("memory/memory.limit_in_bytes", "9223372036854771712\n");
  g.put("memory/batch/memory.limit_in_bytes", "8000000\n");
  g.put("memory/batch/job7/memory.limit_in_bytes", "4000000\n");
  g.put("cpu,cpuacct/batch/cpu.cfs_quota_us", "50000\n");
  g.put("cpu,cpuacct/batch/cpu.cfs_period_us", "100000\n");
  g.put("cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  g.put("cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(cgroup_memory_limit(g.where) == 4000000);
  CHECK(cgroup_cpu_limit(g.where) == 0.5);
}

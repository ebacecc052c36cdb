// The script of Slurm's jobs, with a worker that ends as it is told to.
#include "sweep/slurm.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "base/error.h"
#include "support/command.h"

using namespace effllm;
using namespace effllm::test;
namespace fs = std::filesystem;

namespace {

struct Job {
  TempFolder scratch{"slurm"};
  Surroundings in;
  Job() {
    in.folder = scratch.path;
    const fs::path file = scratch.path / "scontrol";
    spill(file, "#!/bin/sh\necho \"$@\" >> asked.txt\n");
    fs::permissions(file, fs::perms::owner_all);
    in.variables = {{"PATH", scratch.path.string() + ":/usr/bin:/bin"}, {"SLURM_JOB_ID", "7"}};
  }
  Ended run(const std::vector<std::string>& worker) const {
    spill(scratch.path / "worker.sh", slurm_script({.jobs = 1, .threads = 1, .worker = worker, .options = {}}));
    return run_command({"/bin/bash", "worker.sh"}, in);
  }
  std::string asked() const { return fs::exists(scratch.path / "asked.txt") ? slurp(scratch.path / "asked.txt") : ""; }
};

std::vector<std::string> ends_with(ExitCode code) {
  return {"sh", "-c", "exit " + std::to_string(static_cast<int>(code))};
}

}  // namespace

TEST_CASE("slurm: a worker's end is the job's, runs that others hold are none, and only one that stopped comes again") {
  const Job j;
  CHECK(j.run(ends_with(ExitCode::ok)).code == 0);
  CHECK(j.run(ends_with(ExitCode::locked)).code == 0);
  CHECK(j.run(ends_with(ExitCode::numerical)).code == static_cast<int>(ExitCode::numerical));
  CHECK(j.asked() == "");
  CHECK(j.run(ends_with(ExitCode::interrupted)).code == static_cast<int>(ExitCode::interrupted));
  CHECK(j.asked() == "requeue 7\n");
}

TEST_CASE("slurm: words reach the worker as they are") {
  const Job j;
  const std::string odd = "a b'c \"$HOME\" *";
  CHECK(j.run({"printf", "%s|", odd, "--set", "model.layers[0].mixer={type: gru}"}).out ==
        odd + "|--set|model.layers[0].mixer={type: gru}|");
}

TEST_CASE("slurm: a request to stop is passed on to the worker, and its end is awaited") {
  const Job j;
  // The worker asks the job to stop, as Slurm would, and needs a while to end.
  const Ended r =
      j.run({"sh", "-c",
             "trap 'sleep 0.2; echo saved; exit 75' USR1; sleep 0.5; kill -USR1 $PPID; while :; do sleep 0.05; done"});
  CHECK(r.out == "saved\n");
  CHECK(r.code == 75);
  CHECK(j.asked() == "requeue 7\n");
}

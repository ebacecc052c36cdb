// `effllm sweep --launcher slurm`: what is given to sbatch, and what a job then does. With Slurm itself:
// scripts/check_slurm.sh.
#include <csignal>
#include <filesystem>

#include "cli/trained.h"

using namespace effllm::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// A study of four runs, and an sbatch and a scontrol that write down what they are given.
struct Cluster : World {
  Surroundings with_slurm = in;
  Cluster() {
    spill(scratch.path / "base.yaml",
          "model: {d_model: 16, block: {ffn: {type: mlp, expand: 2}}, layers: [{mixer: {type: gru}}]}\n"
          "data: {corpus: own, tokenizer: char}\n"
          "train: {batch: 4, context: 32, max_steps: 30, lanes: 2}\n"
          "optim: {schedule: {warmup: 1}}\n"
          "eval: {sample_tokens: 0}\n");
    spill(scratch.path / "study.yaml",
          "base: base.yaml\n"
          "arms: {gru: {}, min_gru: {\"model.layers[0].mixer\": {type: min_gru}}}\n"
          "seeds: 2\n"
          "eval: {baselines: false}\n");
    fs::create_directory(scratch.path / "bin");
    program("sbatch", "printf '%s\\n' \"$@\" > asked.txt; echo '77;cluster'");
    program("scontrol", "echo \"$@\" >> again.txt");
    with_slurm.variables.emplace_back("PATH", (scratch.path / "bin").string() + ":/usr/bin:/bin");
  }
  void program(const std::string& name, const std::string& does) const {
    const fs::path file = scratch.path / "bin" / name;
    spill(file, "#!/bin/sh\n" + does + "\n");
    fs::permissions(file, fs::perms::owner_all);
  }
  std::string asked() const { return slurp(scratch.path / "asked.txt"); }
};

}  // namespace

TEST_CASE("cli sweep slurm: an array with a job for each run is asked for, and its jobs do the study") {
  const Cluster w;
  const json told = json::parse(w.ok({"sweep", "study.yaml", "-o", "s", "--launcher", "slurm", "--slurm",
                                      "--partition=cpu  --time=2:00:00", "--set", "train.max_steps=20", "--json"},
                                     &w.with_slurm)
                                    .out);
  check_has(told, {{"array", "77"}, {"jobs", 4}, {"left", 4}, {"runs", 4}});
  for (const char* word : {"--array=1-4\n", "--cpus-per-task=1\n", "--requeue\n", "--signal=B:USR1@60\n",
                           "--partition=cpu\n", "--time=2:00:00\n", "s/slurm/worker.sh\n"})
    CHECK_MESSAGE(w.asked().find(word) != std::string::npos, word);
  CHECK_FALSE(fs::exists(w.scratch.path / "s/results/gru.s1.json"));

  w.ok({"sweep", "study.yaml", "-o", "s", "--launcher", "slurm", "--jobs", "2", "--threads", "2", "--set",
        "train.max_steps=20", "-q"},
       &w.with_slurm);
  CHECK(w.asked().find("--array=1-2\n") != std::string::npos);
  CHECK(w.asked().find("--cpus-per-task=2\n") != std::string::npos);

  const std::string script = (w.scratch.path / "s/slurm/worker.sh").string();
  const Ended job = run_command({"/bin/bash", script}, w.with_slurm);
  CHECK_MESSAGE(job.code == 0, job.err);
  const json status = json::parse(w.ok({"sweep", "status", "s", "--json"}).out);
  for (const json& r : status.at("runs")) CHECK(r.at("status") == "done");
  CHECK(json::parse(slurp(w.scratch.path / "s/results/gru.s1.json")).at("steps") == 20);
  CHECK(w.ok({"sweep", "study.yaml", "-o", "s", "--launcher", "slurm", "--set", "train.max_steps=20"}, &w.with_slurm)
            .shows("nothing is left of 4 runs"));
}

TEST_CASE("cli sweep slurm: a job that is asked to stop ends with checkpoints and is put into the queue again") {
  const Cluster w;
  w.ok({"sweep", "study.yaml", "-o", "s", "--launcher", "slurm", "--set", "train.max_steps=100000", "-q"},
       &w.with_slurm);
  Surroundings in_job = w.with_slurm;
  in_job.variables.emplace_back("SLURM_JOB_ID", "78");
  Process job({"/bin/bash", (w.scratch.path / "s/slurm/worker.sh").string()}, in_job);
  REQUIRE(await_text(w.scratch.path / "s/runs/gru.s1/metrics.jsonl", "\"train\""));
  job.signal(SIGUSR1);
  CHECK(job.wait().code == 75);
  CHECK(slurp(w.scratch.path / "again.txt") == "requeue 78\n");
  CHECK_FALSE(fs::is_empty(w.scratch.path / "s/runs/gru.s1/ckpt"));
  CHECK(w.ok({"sweep", "status", "s"}).shows("stopped"));
}

TEST_CASE("cli sweep slurm: what Slurm refuses is told, and what nothing reads") {
  const Cluster w;
  w.program("sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1");
  w.ends({"sweep", "study.yaml", "-o", "s", "--launcher", "slurm"}, 2,
         {"sbatch refused the study: sbatch: error: invalid partition"}, &w.with_slurm);
  Surroundings without = w.in;
  without.variables.emplace_back("PATH", (w.scratch.path / "nothing").string());
  w.ends({"sweep", "study.yaml", "-o", "s", "--launcher", "slurm"}, 2, {"sbatch can't be started"}, &without);
  w.ends({"sweep", "study.yaml", "-o", "s", "--slurm", "--time=1"}, 2, {"does nothing without --launcher slurm"});
  const Ended dry = w.ok({"sweep", "study.yaml", "-o", "other", "--launcher", "slurm", "--dry-run"});
  CHECK(dry.shows("4 runs, of which 4 are left, for 4 jobs of 1 thread each"));
  CHECK(dry.shows("scontrol requeue"));
  CHECK_FALSE(fs::exists(w.scratch.path / "other"));
}

#include "sweep/slurm.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/escapes.h"
#include "base/text.h"
#include "store/file.h"
#include "sweep/child.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

constexpr int kSecondsToStop = 60;  // that a job is warned before its time is over

std::string trimmed(const std::string& text) {
  const size_t from = text.find_first_not_of(" \n"), to = text.find_last_not_of(" \n");
  return from == text.npos ? "" : text.substr(from, to - from + 1);
}

}  // namespace

std::string slurm_script(const SlurmArray& array) {
  std::string words;
  for (const std::string& word : array.worker) words += (words.empty() ? "" : " ") + shell_word(word);
  return fmt::format(
      "#!/bin/bash\n"
      "# A worker of the study beside: takes its runs, one after the other, until none is left.\n"
      "worker= asked=\n"
      "trap 'asked=1; [ -z \"$worker\" ] || kill -USR1 $worker 2> /dev/null' USR1 TERM\n"
      "{} &\n"
      "worker=$!\n"
      "[ -z \"$asked\" ] || kill -USR1 $worker\n"
      "while kill -0 $worker 2> /dev/null; do wait $worker; done  # a signal ends one wait\n"
      "wait $worker\n"
      "code=$?\n"
      "[ $code -eq {} ] && code=0  # others work on all that is left\n"
      "if [ $code -eq {} ]; then   # it was asked to stop, and its run has a checkpoint\n"
      "  scontrol requeue \"$SLURM_JOB_ID\"\n"
      "fi\n"
      "exit $code\n",
      words, static_cast<int>(ExitCode::locked), static_cast<int>(ExitCode::interrupted));
}

std::string submit(const StudyFolder& folder, const SlurmArray& array) {
  const fs::path home = fs::absolute(folder.path()) / "slurm", script = home / "worker.sh";
  std::error_code error;
  fs::create_directories(home, error);
  if (error) throw IoError("the folder {} can't be made: {}", home.string(), error.message());
  write_file_atomic(script, slurm_script(array));
  std::vector<std::string> words = {"sbatch",
                                    "--parsable",
                                    fmt::format("--array=1-{}", array.jobs),
                                    fmt::format("--cpus-per-task={}", array.threads),
                                    "--job-name=" + folder.path().filename().string(),
                                    "--requeue",
                                    fmt::format("--signal=B:USR1@{}", kSecondsToStop),
                                    "--open-mode=append",
                                    "--output=" + (home / "%A_%a.log").string()};
  words.insert(words.end(), array.options.begin(), array.options.end());
  words.push_back(script.string());
  const fs::path said = home / "sbatch.txt", complained = home / "sbatch.err";
  fs::remove(complained, error);
  Child sbatch(words, {.out = said, .err = complained, .program = "sbatch"});
  while (!sbatch.ended()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (sbatch.ended() == kNotStarted)
    throw ConfigError(
        "sbatch can't be started: --launcher slurm needs a cluster that runs Slurm, and its clients here");
  const std::string id = trimmed(read_file(said, 1 << 16));
  if (id.empty()) throw ConfigError("sbatch refused the study: {}", printable(trimmed(read_file(complained, 1 << 16))));
  return id.substr(0, id.find(';'));  // a cluster's name may follow
}

}  // namespace effllm

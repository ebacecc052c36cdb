#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/escapes.h"
#include "base/terminal.h"
#include "base/text.h"
#include "json_output.h"
#include "shared.h"
#include "study_commands.h"
#include "sweep/slurm.h"
#include "sweep/workers.h"

namespace effllm::app {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> all;
  for (std::string word; in >> word;) all.push_back(word);
  return all;
}

// What every job runs: the same command, with a worker of its own.
std::vector<std::string> worker_of(const SweepArgs& args, const StudyFolder& folder, int threads) {
  std::vector<std::string> words = {fs::read_symlink("/proc/self/exe").string(),
                                    "sweep",
                                    fs::absolute(args.study).string(),
                                    "-o",
                                    fs::absolute(folder.path()).string(),
                                    "--jobs",
                                    "1",
                                    "--threads",
                                    fmt::format("{}", threads),
                                    "-q"};
  if (args.confirm) words.emplace_back("--confirm");
  for (const std::string& set : args.set) words.insert(words.end(), {"--set", set});
  return words;
}

}  // namespace

ExitCode sweep_by_slurm(const Common& common, const SweepArgs& args, const Plan& plan, const StudyFolder& folder,
                        int left) {
  const int threads = std::max(1, common.threads), jobs = args.jobs > 0 ? std::min(args.jobs, left) : left;
  const SlurmArray array{
      .jobs = jobs, .threads = threads, .worker = worker_of(args, folder, threads), .options = words_of(args.slurm)};
  const std::string runs = counted(static_cast<int64_t>(plan.count()), "run");
  if (args.dry_run) {
    if (common.json)
      print_json({{"runs", plan.count()},
                  {"left", left},
                  {"jobs", jobs},
                  {"threads", threads},
                  {"script", slurm_script(array)}});
    else
      fmt::print("{}{}, of which {} are left, for {} of {} each:\n{}", plan_text(plan), runs, left,
                 counted(jobs, "job"), counted(threads, "thread"), slurm_script(array));
    return ExitCode::ok;
  }
  // What failed before is let go here: jobs that begin later are not to start it a second time.
  if (args.retry)
    for (const PlannedRun& r : plan.runs)
      if (status_of(folder, r.name) == "failed") fs::remove(folder.failure(r.name));
  const std::string id = left > 0 ? submit(folder, array) : "";
  if (common.json)
    print_json({{"folder", folder.path().string()},
                {"runs", plan.count()},
                {"left", left},
                {"jobs", left > 0 ? jobs : 0},
                {"array", id}});
  else if (left == 0)
    fmt::print("{}: nothing is left of {}\n", folder.path().string(), runs);
  else
    fmt::print("{}: {} of {} left, given to array {} of {} with {} each\n", folder.path().string(), left, runs, id,
               counted(jobs, "job"), counted(threads, "thread"));
  if (!common.quiet && left > 0)
    print_stderr(fmt::format("next:  {0} sweep status {1}   squeue -j {2}   {0} compare {1}\n",
                             shell_word(common.program), shell_word(folder.path().string()), id));
  return ExitCode::ok;
}

}  // namespace effllm::app

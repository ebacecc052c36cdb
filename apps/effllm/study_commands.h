// As commands.h, of the commands for studies.
#pragma once
#include "commands.h"
#include "sweep/study_folder.h"

namespace effllm::app {

struct SweepArgs {
  std::string study, folder;  // empty: studies/NAME
  std::vector<std::string> set;
  int jobs = 0;  // 0: as many as there are CPUs for, or with Slurm runs
  std::string launcher = "local", slurm;
  bool dry_run = false, retry = false, confirm = false;
};
ExitCode sweep(const Common&, const SweepArgs&);
// The same, by jobs of Slurm for the `left` runs that are neither done nor failed.
ExitCode sweep_by_slurm(const Common&, const SweepArgs&, const Plan&, const StudyFolder&, int left);
std::string plan_text(const Plan&);  // a table of its arms and their sizes
ExitCode sweep_status(const Common&, const std::string& folder);

struct CompareArgs {
  std::string folder, baseline;  // empty: the first arm
  bool markdown = false, csv = false, latex = false;
};
ExitCode compare(const Common&, const CompareArgs&);

struct ReportArgs {
  std::string folder, baseline, file;  // empty: FOLDER/report.html
};
ExitCode report(const Common&, const ReportArgs&);

}  // namespace effllm::app

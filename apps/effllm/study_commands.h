// As commands.h, of the commands for studies.
#pragma once
#include "commands.h"

namespace effllm::app {

struct SweepArgs {
  std::string study, folder;  // empty: studies/NAME
  std::vector<std::string> set;
  int jobs = 0;  // 0: as many as there are CPUs for
  bool dry_run = false, retry = false, confirm = false;
};
ExitCode sweep(const Common&, const SweepArgs&);
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

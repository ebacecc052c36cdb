#include <fmt/format.h>

#include "base/escapes.h"
#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "json_output.h"
#include "report/study_report.h"
#include "store/file.h"
#include "study_commands.h"

namespace effllm::app {

ExitCode report(const Common& common, const ReportArgs& args) {
  const StudyFolder folder(args.folder);
  const StudyTable t = compare_study(folder, args.baseline);
  const std::filesystem::path file =
      args.file.empty() ? folder.path() / "report.html" : std::filesystem::path(args.file);
  write_file_atomic(file, study_report(folder, t));
  if (common.json)
    print_json({{"file", path_text(file)}});
  else
    fmt::print("{}\n", path_text(file));
  return ExitCode::ok;
}

}  // namespace effllm::app

#include <fmt/format.h>

#include "base/json.h"
#include "base/table_formats.h"
#include "base/terminal.h"
#include "base/text.h"
#include "json_output.h"
#include "study_commands.h"
#include "sweep/compare.h"

namespace effllm::app {

ExitCode compare(const Common& common, const CompareArgs& args) {
  const StudyTable t = compare_study(StudyFolder(args.folder), args.baseline);
  if (common.json) {
    print_json(to_json(t));
    return ExitCode::ok;
  }
  if (args.csv) {
    fmt::print("{}", csv_table(rows_of(t, true)));
    return ExitCode::ok;
  }
  const auto rows = rows_of(t);
  fmt::print("{}", args.latex ? latex_table(rows) : args.markdown ? markdown_table(rows) : table(rows));
  std::string notes;
  for (const std::string& line : footnotes(t)) notes += (args.latex ? "% " : args.markdown ? "\n" : "") + line + "\n";
  fmt::print("{}{}", args.latex || args.markdown ? "" : "\n", notes);
  return ExitCode::ok;
}

}  // namespace effllm::app

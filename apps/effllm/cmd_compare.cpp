#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/table_formats.h"
#include "base/terminal.h"
#include "base/text.h"
#include "json_output.h"
#include "study_commands.h"
#include "sweep/judge.h"
#include "sweep/prediction.h"
#include "sweep/settle.h"
#include "sweep/speedup.h"

namespace effllm::app {
namespace {

void print_rows(std::vector<std::vector<std::string>> rows, const CompareArgs& args) {
  if (args.markdown)
    for (auto& row : rows)
      for (std::string& cell : row) cell = markdown_text(cell);
  fmt::print("{}", args.latex ? latex_table(rows) : args.markdown ? markdown_table(rows) : table(rows));
}

// Below the tables: a paragraph each, or a comment of TeX.
void print_note(std::string line, const CompareArgs& args) {
  if (args.latex)
    std::ranges::replace_if(
        line, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  fmt::print("{}{}\n", args.latex ? "% " : args.markdown ? "\n" : "", args.markdown ? markdown_text(line) : line);
}

}  // namespace

ExitCode compare(const Common& common, const CompareArgs& args) {
  const StudyFolder folder(args.folder);
  const StudyTable t = compare_study(folder, args.baseline);
  if (args.csv) {
    fmt::print("{}", csv_table(rows_of(t, true)));
    return ExitCode::ok;
  }
  const ArmSpeedups speedups = speedups_of(t, curves_of(folder, read_plan(folder), t));
  const std::vector<JudgedClaim> claims = judge_claims(folder);
  const TimeSpent time = time_spent(folder, read_plan(folder));
  if (common.json) {
    nlohmann::json j = to_json(t);
    for (size_t i = 0; i < speedups.size(); ++i) j["arms"][i]["speedup"] = to_json(speedups[i]);
    j["claims"] = to_json(claims);
    j["time"] = to_json(time);
    print_json(j);
    return ExitCode::ok;
  }
  std::vector<std::string> notes = footnotes(t);
  print_rows(rows_of(t), args);
  if (const auto rows = rows_of(t, speedups); !rows.empty()) {
    fmt::print("\n");
    print_rows(rows, args);
    for (std::string& line : footnotes(t, speedups)) notes.push_back(std::move(line));
  }
  if (const auto rows = rows_of(claims); !rows.empty()) {
    fmt::print("\n");
    print_rows(rows, args);
    for (std::string& line : footnotes(claims)) notes.push_back(std::move(line));
  }
  if (time.runs > 0) notes.push_back(time_text(time));
  if (!args.latex && !args.markdown) fmt::print("\n");
  for (const std::string& line : notes) print_note(line, args);
  return ExitCode::ok;
}

}  // namespace effllm::app

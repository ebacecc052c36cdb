#include "overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/text.h"
#include "io/file.h"
#include "io/run_folder.h"
#include "train/run_config.h"

namespace effllm::app {
namespace {

// The folder that --resume means: its name is the command line's, the configuration's or its file's.
RunFolder folder_of(const TrainArgs& args) {
  std::string name = args.name;
  if (name.empty()) {
    ConfigNode root = load_config(args.config);
    int index = 0;
    for (const auto& o : args.set) apply_override(root, o, ++index);
    const ConfigNode* given = root.find("name");
    name = given && given->is_scalar() ? given->text() : std::filesystem::path(args.config).stem().string();
  }
  return RunFolder(std::filesystem::path(args.runs) / name);
}

// Those of `a` that `b` lacks, as they are written on a command line.
std::string only_in(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::string text;
  for (const auto& s : a)
    if (std::ranges::find(b, s) == b.end()) text += " --set " + s;
  return text;
}

}  // namespace

Overrides overrides_of(const TrainArgs& args) {
  for (const auto& s : args.set)
    if (s.find('\n') != s.npos) throw ConfigError("--set {}: write a line break as \"\\n\"", printable(s));
  Overrides o{args.set, ""};
  if (args.resume.empty()) return o;
  const std::filesystem::path file = folder_of(args).overrides();
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return o;
  std::vector<std::string> before;
  std::istringstream lines(read_file(file, 1 << 20));
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) before.push_back(line);
  if (args.set.empty()) {
    o.set = before;
    if (!before.empty()) o.note = fmt::format("as {} says:{}", file.string(), only_in(before, {}));
    return o;
  }
  const std::string dropped = only_in(before, args.set), added = only_in(args.set, before);
  if (!dropped.empty()) o.note = fmt::format("of {} no longer:{}", file.string(), dropped);
  if (!added.empty()) o.note += fmt::format("{}new to the run:{}", o.note.empty() ? "" : "; ", added);
  return o;
}

}  // namespace effllm::app

#include "overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/text.h"
#include "config/difference.h"
#include "data/corpus.h"
#include "io/file.h"
#include "io/run_folder.h"
#include "train/kept_config.h"
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

// Everything that a configuration says, each value written in one way.
ConfigNode resolved(const ConfigNode& root, const std::string& file) {
  return write_run_config(read_run_config(root, file));
}

bool same_manifest(const std::string& a, const std::string& b, const std::filesystem::path& near) {
  std::error_code failure;
  try {
    return std::filesystem::equivalent(find_manifest(a, near), find_manifest(b, near), failure);
  } catch (const DataError&) {
    return false;
  }
}

// The same for the resolved configuration of the run, which holds the overrides already: what differs from them.
std::vector<std::string> lost_edits_of_resolved(const std::string& config, const RunFolder& folder,
                                                const std::vector<std::string>& overrides) {
  std::vector<std::string> notes;
  int index = 0;
  for (const std::string& o : overrides) try {
      const ConfigNode now = load_config(config);
      ConfigNode then = now;
      apply_override(then, o, ++index);
      for (const ConfigChange& c : differences(resolved(now, config), resolved(then, config)))
        if (c.key != "data.corpus" || !same_manifest(c.before, c.after, config))
          notes.push_back(fmt::format("warning: {}: {} in {} has no effect: {} holds --set {}; give --set to change it",
                                      c.key, c.before, config, folder.overrides().string(), o));
    } catch (const ConfigError&) {  // an error of its own
    }
  return notes;
}

// What was edited in the configuration since the run began, but an override replaces: the edits that two trees no
// longer show once it is applied to both.
std::vector<std::string> lost_edits(const std::string& config, const RunFolder& folder,
                                    const std::vector<std::string>& overrides) {
  std::error_code failure;
  if (std::filesystem::equivalent(config, folder.resolved(), failure))
    return lost_edits_of_resolved(config, folder, overrides);
  ConfigNode then, now;
  try {
    then = load_config(folder.config());
    now = parse_config(kept_config(config, read_file(config, 1 << 20), folder.path().filename().string()), config);
  } catch (const Error&) {  // of an older version, with bases elsewhere: what was edited is not known
    return {};
  }
  const std::vector<ConfigChange> edits = differences(then, now);
  std::vector<std::string> notes;
  int index = 0;
  for (const std::string& o : overrides) {
    ConfigNode a = then, b = now;
    ++index;
    try {
      apply_override(a, o, index);
      apply_override(b, o, index);
    } catch (const ConfigError&) {  // it fits one of them only, and is an error of its own
      continue;
    }
    const std::vector<ConfigChange> left = differences(a, b);
    for (const ConfigChange& e : edits)
      if (std::ranges::find(left, e.key, &ConfigChange::key) == left.end())
        notes.push_back(fmt::format("warning: {} in {} has no effect: {} holds --set {}; give --set to change it",
                                    e.text(), config, folder.overrides().string(), o));
  }
  return notes;
}

}  // namespace

Overrides overrides_of(const TrainArgs& args) {
  for (const auto& s : args.set)
    if (s.find('\n') != s.npos) throw ConfigError("--set {}: write a line break as \"\\n\"", printable(s));
  Overrides o{args.set, {}};
  if (args.resume.empty()) return o;
  const RunFolder folder = folder_of(args);
  const std::filesystem::path file = folder.overrides();
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return o;
  std::vector<std::string> before;
  std::istringstream lines(read_file(file, 1 << 20));
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) before.push_back(line);
  if (args.set.empty()) {
    o.set = before;
    if (!before.empty()) o.notes.push_back(fmt::format("as {} says:{}", file.string(), only_in(before, {})));
    for (std::string& note : lost_edits(args.config, folder, before)) o.notes.push_back(std::move(note));
    return o;
  }
  const std::string dropped = only_in(before, args.set), added = only_in(args.set, before);
  if (!dropped.empty()) o.notes.push_back(fmt::format("of {} no longer:{}", file.string(), dropped));
  if (!added.empty()) o.notes.push_back("new to the run:" + added);
  return o;
}

}  // namespace effllm::app

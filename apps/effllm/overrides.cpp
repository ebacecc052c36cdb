#include "overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <sstream>

#include "base/escapes.h"
#include "base/text.h"
#include "config/difference.h"
#include "data/corpus.h"
#include "store/file.h"
#include "store/run_folder.h"
#include "train/kept_config.h"
#include "train/loaded_model.h"
#include "train/run_config.h"

namespace effllm::app {
namespace {

namespace fs = std::filesystem;

// The folder that --resume means: its name is the command line's, the configuration's or its file's.
RunFolder folder_of(const TrainArgs& args) {
  std::string name = args.name;
  if (name.empty()) {
    ConfigNode root = load_config(args.config);
    int index = 0;
    for (const auto& o : args.set) apply_override(root, o, ++index);
    const ConfigNode* given = root.find("name");
    name = given && given->is_scalar() ? given->text() : fs::path(args.config).stem().string();
  }
  return RunFolder(fs::path(args.runs) / name);
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

bool same_manifest(const std::string& a, const std::string& b, const fs::path& near) {
  std::error_code failure;
  try {
    return fs::equivalent(find_manifest(a, near), find_manifest(b, near), failure);
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
  if (fs::equivalent(config, folder.resolved(), failure)) return lost_edits_of_resolved(config, folder, overrides);
  ConfigNode then, now;
  try {
    then = load_config(folder.config());
    const ConfigNode* data = then.find("data");
    const ConfigNode* corpus = data && data->is_map() ? data->find("corpus") : nullptr;
    now = parse_config(kept_config(config, read_file(config, 1 << 20), folder.path().filename().string(),
                                   corpus && corpus->is_scalar() ? corpus->text() : ""),
                       config);
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

// An override that the run was started with, with the corpus that the run has: by its full path, unless that is what it
// says and is there.
std::string of_the_run(const std::string& assignment, const RunFolder& folder, const fs::path& near) {
  const std::optional<std::string> name = corpus_in(assignment);
  std::error_code failure;
  if (!name || (path_of_text(*name).is_absolute() && fs::exists(path_of_text(*name), failure))) return assignment;
  std::vector<std::string> refused;
  try {
    const auto step = folder.newest_valid(refused);
    if (!step) return kept_override(assignment, near);
    const fs::path checkpoint = folder.checkpoint(*step);
    const RunRecord record = read_record(SafetensorsFile(checkpoint), checkpoint.string());
    return with_corpus(assignment, path_text(corpus_of(record, *name, near).file().lexically_normal()));
  } catch (const Error&) {  // the run that reads it says what is wrong
    return assignment;
  }
}

// The overrides that a run was started with; unset where it is new.
std::optional<std::vector<std::string>> overrides_before(const RunFolder& folder, const fs::path& near) {
  std::error_code error;
  if (!fs::exists(folder.overrides(), error)) return std::nullopt;
  std::vector<std::string> before;
  std::istringstream lines(read_file(folder.overrides(), 1 << 20));
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) before.push_back(of_the_run(line, folder, near));
  return before;
}

// Of `before` the corpus, where `given` says nothing of it: data.corpus=PATH. A run keeps the text that it reads.
std::optional<std::string> kept_corpus(const std::vector<std::string>& before, const std::vector<std::string>& given) {
  for (const std::string& s : given)
    if (corpus_in(s) || s == "~data.corpus" || s == "~data") return std::nullopt;
  std::optional<std::string> kept;
  for (const std::string& s : before)
    if (const auto corpus = corpus_in(s)) kept = with_corpus("data.corpus=", *corpus);
  return kept;
}

}  // namespace

Overrides overrides_of(const TrainArgs& args) {
  for (const auto& s : args.set)
    if (s.find('\n') != s.npos) throw ConfigError("--set {}: write a line break as \"\\n\"", printable(s));
  Overrides o{args.set, {}};
  if (args.resume.empty()) return o;
  const RunFolder folder = folder_of(args);
  const std::string file = folder.overrides().string();
  const fs::path near = fs::path(args.config).parent_path();
  const std::optional<std::vector<std::string>> started = overrides_before(folder, near);
  if (!started) return o;
  const std::vector<std::string>& before = *started;
  const auto go_on_with = [&](const std::vector<std::string>& some) {
    o.set.insert(o.set.end(), some.begin(), some.end());
    o.notes.push_back(fmt::format("as {} says:{}", file, only_in(some, {})));
    for (std::string& note : lost_edits(args.config, folder, some)) o.notes.push_back(std::move(note));
  };
  if (args.set.empty()) {
    if (!before.empty()) go_on_with(before);
    return o;
  }
  std::vector<std::string> now;
  for (const std::string& s : args.set) now.push_back(kept_override(s, near));
  const std::optional<std::string> corpus = kept_corpus(before, args.set);
  if (corpus) now.push_back(*corpus);
  const std::string dropped = only_in(before, now), added = only_in(now, before);
  if (!dropped.empty()) o.notes.push_back(fmt::format("of {} no longer:{}", file, dropped));
  if (!added.empty()) o.notes.push_back("new to the run:" + added);
  if (corpus) go_on_with({*corpus});
  return o;
}

}  // namespace effllm::app

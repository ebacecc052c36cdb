#include "train/kept_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/escapes.h"
#include "data/corpus.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

ConfigNode quoted(const std::string& text) { return ConfigNode::scalar(text, {}, true); }

// The full path of the manifest that `name` means in a configuration of `folder`; unset where there is none.
std::optional<std::string> full_path(const std::string& name, const fs::path& folder) {
  try {
    std::error_code failure;
    const fs::path found = fs::absolute(find_manifest(name, folder), failure).lexically_normal();
    if (!failure) return path_text(found);
  } catch (const Error&) {  // --set may have named another, which exists
  }
  return std::nullopt;
}

// Where a mark of `text` points; npos where it is none.
size_t place_of(const std::string& text, const Mark& mark) {
  size_t at = 0;
  for (int line = 1; line < mark.line && at != text.npos; ++line) {
    at = text.find('\n', at);
    if (at != text.npos) ++at;
  }
  if (at == text.npos || mark.line == 0) return text.npos;
  return std::min(text.size(), at + static_cast<size_t>(mark.column - 1));
}

// `text` with the scalar at its place replaced; as it is where the place holds something else (an anchor, a folded
// scalar).
std::string with_scalar(const std::string& text, const ConfigNode& scalar, const ConfigNode& value) {
  const size_t at = place_of(text, scalar.mark());
  if (at == text.npos) return text;
  for (const std::string& written : {scalar.text(), '"' + scalar.text() + '"', '\'' + scalar.text() + '\''})
    if (text.compare(at, written.size(), written) == 0)
      return text.substr(0, at) + to_flow_yaml(value) + text.substr(at + written.size());
  return text;
}

// `text` with a corpus as the first key of its section `data`, or with such a section at its end.
std::string with_corpus_named(const std::string& text, const ConfigNode* data, const ConfigNode& corpus) {
  const std::string line = "corpus: " + to_flow_yaml(corpus);
  if (!data) return text + (text.ends_with('\n') ? "" : "\n") + "data: {" + line + "}\n";
  if (data->entries().empty()) return text;
  const Mark& first = data->entries().front().key_mark;
  const size_t at = place_of(text, first), map = place_of(text, data->mark());
  if (at == text.npos || map == text.npos) return text;
  const bool flow = text.compare(map, 1, "{") == 0;
  return text.substr(0, at) + line + (flow ? ", " : "\n" + std::string(static_cast<size_t>(first.column - 1), ' ')) +
         text.substr(at);
}

bool reads_as(const std::string& text, const ConfigNode& wanted) {
  try {
    return to_yaml(parse_config(text, "")) == to_yaml(wanted);
  } catch (const ConfigError&) {
    return false;
  }
}

}  // namespace

std::string kept_config(const fs::path& file, const std::string& text, const std::string& name,
                        const std::string& corpus) {
  const bool has_base = parse_config(text, file.string()).find("base") != nullptr;
  ConfigNode wanted = load_config(file);
  std::string kept = text;
  const auto set = [&](ConfigNode& map, std::string_view key, const std::string& value) {
    if (!has_base) kept = with_scalar(kept, *map.find(key), quoted(value));
    map.set(key, quoted(value));
  };
  const ConfigNode* called = wanted.find("name");
  const bool has_name = called != nullptr;
  if (called && called->text() != name) set(wanted, "name", name);
  ConfigNode* data = wanted.find("data");
  const ConfigNode* named = data && data->is_map() ? data->find("corpus") : nullptr;
  if (named && named->is_scalar()) {
    const std::string path = full_path(named->text(), file.parent_path()).value_or(corpus);
    if (!path.empty() && path != named->text()) set(*data, "corpus", path);
  } else if (!named && !corpus.empty() && (!data || data->is_map())) {
    if (!has_base) kept = with_corpus_named(kept, data, quoted(corpus));
    if (!data) wanted.set("data", ConfigNode::map());
    auto& entries = wanted.find("data")->entries();
    entries.insert(entries.begin(), {"corpus", {}, quoted(corpus)});
  }
  if (!has_name) {
    wanted.entries().insert(wanted.entries().begin(), {"name", {}, quoted(name)});
    kept = "name: " + to_flow_yaml(quoted(name)) + "\n" + kept;
  }
  if (!has_base && reads_as(kept, wanted)) return kept;
  return fmt::format("# {}{}\n", escape(file.filename().string()), has_base ? ", its bases worked in" : "") +
         to_yaml(wanted);
}

std::optional<std::string> corpus_in(const std::string& assignment) {
  ConfigNode root;
  try {
    apply_override(root, assignment, 1);
  } catch (const ConfigError&) {  // it needs what a configuration has
    return std::nullopt;
  }
  const ConfigNode* data = root.is_map() ? root.find("data") : nullptr;
  const ConfigNode* corpus = data && data->is_map() ? data->find("corpus") : nullptr;
  return corpus && corpus->is_scalar() ? std::optional(corpus->text()) : std::nullopt;
}

std::string with_corpus(const std::string& assignment, const std::string& path) {
  if (!assignment.starts_with("data=")) return "data.corpus=" + to_flow_yaml(quoted(path));
  ConfigNode root;
  apply_override(root, assignment, 1);
  root.find("data")->set("corpus", quoted(path));
  return "data=" + to_flow_yaml(*root.find("data"));
}

std::string kept_override(const std::string& assignment, const fs::path& near) {
  const std::optional<std::string> name = corpus_in(assignment);
  const std::optional<std::string> path = name ? full_path(*name, near) : std::nullopt;
  return path ? with_corpus(assignment, *path) : assignment;
}

ConfigNode resolved_config(const RunConfig& config, const fs::path& manifest) {
  ConfigNode root = write_run_config(config);
  if (!config.data.task) root.find("data")->set("corpus", quoted(path_text(manifest)));
  return root;
}

}  // namespace effllm

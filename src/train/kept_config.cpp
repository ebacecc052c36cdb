#include "train/kept_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/escapes.h"
#include "data/corpus.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

ConfigNode quoted(const std::string& text) { return ConfigNode::scalar(text, {}, true); }

// The manifest that `name` means in a configuration of `folder`; `name` itself where there is none.
std::string full_path(const std::string& name, const fs::path& folder) {
  try {
    std::error_code failure;
    const fs::path found = fs::absolute(find_manifest(name, folder), failure).lexically_normal();
    return failure ? name : path_text(found);
  } catch (const Error&) {  // --set may have named another, which exists
    return name;
  }
}

// `text` with the scalar at its place replaced; as it is where the place holds something else (an anchor, a folded
// scalar).
std::string with_scalar(const std::string& text, const ConfigNode& scalar, const ConfigNode& value) {
  size_t at = 0;
  for (int line = 1; line < scalar.mark().line && at != text.npos; ++line) {
    at = text.find('\n', at);
    if (at != text.npos) ++at;
  }
  if (at == text.npos || scalar.mark().line == 0) return text;
  at = std::min(text.size(), at + static_cast<size_t>(scalar.mark().column - 1));
  for (const std::string& written : {scalar.text(), '"' + scalar.text() + '"', '\'' + scalar.text() + '\''})
    if (text.compare(at, written.size(), written) == 0)
      return text.substr(0, at) + to_flow_yaml(value) + text.substr(at + written.size());
  return text;
}

bool reads_as(const std::string& text, const ConfigNode& wanted) {
  try {
    return to_yaml(parse_config(text, "")) == to_yaml(wanted);
  } catch (const ConfigError&) {
    return false;
  }
}

}  // namespace

std::string kept_config(const fs::path& file, const std::string& text, const std::string& name) {
  const bool has_base = parse_config(text, file.string()).find("base") != nullptr;
  ConfigNode wanted = load_config(file);
  std::string kept = text;
  const auto set = [&](ConfigNode& map, std::string_view key, const std::string& value) {
    if (!has_base) kept = with_scalar(kept, *map.find(key), quoted(value));
    map.set(key, quoted(value));
  };
  if (ConfigNode* data = wanted.find("data"); data && data->is_map())
    if (const ConfigNode* corpus = data->find("corpus"); corpus && corpus->is_scalar())
      if (const std::string path = full_path(corpus->text(), file.parent_path()); path != corpus->text())
        set(*data, "corpus", path);
  if (const ConfigNode* given = wanted.find("name"); !given) {
    wanted.entries().insert(wanted.entries().begin(), {"name", {}, quoted(name)});
    kept = "name: " + to_flow_yaml(quoted(name)) + "\n" + kept;
  } else if (given->text() != name) {
    set(wanted, "name", name);
  }
  if (!has_base && reads_as(kept, wanted)) return kept;
  return fmt::format("# {}{}\n", escape(file.filename().string()), has_base ? ", its bases worked in" : "") +
         to_yaml(wanted);
}

ConfigNode resolved_config(const RunConfig& config, const fs::path& manifest) {
  ConfigNode root = write_run_config(config);
  root.find("data")->set("corpus", quoted(path_text(manifest)));
  return root;
}

}  // namespace effllm

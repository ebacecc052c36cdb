#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <unordered_map>

#include "base/text.h"
#include "config/rivals.h"
#include "config/yaml.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

// Levels stop chains; files stop bases that name the same file over and over (20 each on 8 levels: 20^8 reads).
constexpr size_t kMostLevels = 8, kMostFiles = 64;

// At most one byte more than parse_config accepts. `why` says what went wrong where the result is false.
bool read_text(const fs::path& file, std::string& text, std::string& why) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored)) {
    why = "it is a folder";
    return false;
  }
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  text.resize(kMostConfigBytes + 1);
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad()) {
    why = errno ? std::generic_category().message(errno) : "it cannot be read";
    return false;
  }
  text.resize(static_cast<size_t>(in.gcount()));
  return true;
}

// Reads one configuration with its bases; counts the files, and remembers those it is inside of.
class Loader {
 public:
  // `asked_by` is the place of the `base:` that names `file`; built in for the first file.
  ConfigNode load(const fs::path& file, const Mark& asked_by) {
    std::error_code ignored;
    const fs::path real = fs::weakly_canonical(file, ignored);
    const std::string name = file.string();
    if (std::ranges::find(inside_, real) != inside_.end())
      throw_at(asked_by, fmt::format("`{}` is its own base: {}", name, chain(real)));
    if (inside_.size() > kMostLevels)
      throw_at(asked_by, fmt::format("more than {} levels of `base:`: {}", kMostLevels, chain(real)));
    if (++files_ > kMostFiles) throw_at(asked_by, fmt::format("more than {} files are read by `base:`", kMostFiles));
    std::string text, why;
    if (!read_text(file, text, why)) {
      if (asked_by.line) throw_at(asked_by, fmt::format("the base `{}` cannot be read: {}", name, why));
      throw ConfigError("the configuration `{}` cannot be read: {}", printable(name), why);
    }
    ConfigNode own = parse_config(text, name);
    if (own.is_null()) own = ConfigNode::map();
    if (!own.is_map()) throw_at(own.mark(), "a configuration is a map, with lines such as `key: value`");
    inside_.push_back(real);
    ConfigNode result = below(own, file);
    inside_.pop_back();
    return result;
  }

 private:
  // `own` on top of the bases it names, the last of which wins among them.
  ConfigNode below(ConfigNode& own, const fs::path& file) {
    const auto base = std::ranges::find(own.entries(), "base", &ConfigNode::Entry::key);
    if (base == own.entries().end()) return std::move(own);
    const bool many = base->value.is_list();
    const std::vector<ConfigNode> names = many ? base->value.items() : std::vector{base->value};
    const Mark key = base->key_mark;
    own.erase("base");
    ConfigNode result = ConfigNode::map();
    for (const ConfigNode& name : names) {
      if (!name.is_scalar() || name.text().empty()) throw_at(key, "`base` must be a file, or a list of files");
      const fs::path path = (file.parent_path() / name.text()).lexically_normal();
      result = merge(result, load(path, name.mark()));
    }
    result = merge(result, own);
    if (measure(result).nodes > kMostConfigNodes)
      throw_at(key, fmt::format("with its bases the configuration has more than {} nodes", kMostConfigNodes));
    return result;
  }

  // "main.yaml -> common.yaml -> main.yaml"
  std::string chain(const fs::path& last) const {
    std::string text;
    for (const fs::path& file : inside_) text += file.filename().string() + " -> ";
    return text + last.filename().string();
  }

  std::vector<fs::path> inside_;
  size_t files_ = 0;
};

}  // namespace

// The result has the marks of the files that the pieces stand in.
ConfigNode load_config(const fs::path& file) { return Loader().load(file, {}); }

namespace {

// Maps whose keys beside `type` are, but for a few, those of every type: they go on below another one.
constexpr std::string_view kOfAnyType[] = {"block", "optim", "schedule"};

bool of_other_types(const ConfigNode& a, const ConfigNode& b) {
  const ConfigNode *of_a = a.find("type"), *of_b = b.find("type");
  return of_a && of_b && of_a->is_scalar() && of_b->is_scalar() && of_a->text() != of_b->text();
}

// Of maps that stand at `key`.
ConfigNode merge_at(std::string_view key, const ConfigNode& under, const ConfigNode& over) {
  if (!under.is_map() || !over.is_map()) return over;
  if (of_other_types(under, over) && std::ranges::find(kOfAnyType, key) == std::end(kOfAnyType)) return over;
  ConfigNode kept = under;
  for (const ConfigNode::Entry& entry : over.entries()) drop_rivals(kept, key, entry.key);
  ConfigNode result = ConfigNode::map(over.mark().line ? over.mark() : under.mark());
  result.entries() = kept.entries();
  std::unordered_map<std::string_view, size_t> places;
  for (size_t i = 0; i < kept.entries().size(); ++i) places.emplace(kept.entries()[i].key, i);
  for (const ConfigNode::Entry& entry : over.entries()) {
    const auto at = places.find(entry.key);
    if (at == places.end()) {
      result.entries().push_back(entry);
    } else {
      ConfigNode::Entry& old = result.entries()[at->second];
      old = {entry.key, entry.key_mark, merge_at(entry.key, old.value, entry.value)};
    }
  }
  return result;
}

}  // namespace

ConfigNode merge(const ConfigNode& under, const ConfigNode& over) { return merge_at("", under, over); }

}  // namespace effllm

// A configuration as a tree that knows where each of its pieces was written. Only yaml.cpp sees yaml-cpp.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace effllm {

// A text that nodes come from: a file, or an assignment of the command line ("--set #2").
struct Source {
  std::string name;
  std::vector<std::string> lines;
};

// A place in a source, 1-based; line 0 means "built in".
struct Mark {
  std::shared_ptr<const Source> source;
  int line = 0, column = 0;
  std::string text() const;  // "exp/gru.yaml:12:3", or "built-in default"
};

class ConfigNode {
 public:
  enum class Kind { null, scalar, list, map };
  struct Entry;

  ConfigNode() = default;
  static ConfigNode null(Mark mark);
  static ConfigNode scalar(std::string text, Mark mark = {}, bool quoted = false);
  static ConfigNode list();
  static ConfigNode list(std::vector<ConfigNode> items, Mark mark = {});
  static ConfigNode map(Mark mark = {});

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::null; }
  bool is_scalar() const { return kind_ == Kind::scalar; }
  bool is_list() const { return kind_ == Kind::list; }
  bool is_map() const { return kind_ == Kind::map; }
  const Mark& mark() const { return mark_; }
  const std::string& text() const { return text_; }  // of a scalar
  bool quoted() const { return quoted_; }            // a quoted scalar is a string whatever it looks like
  const std::vector<ConfigNode>& items() const { return items_; }
  std::vector<ConfigNode>& items() { return items_; }
  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<Entry>& entries() { return entries_; }

  const ConfigNode* find(std::string_view key) const;  // of a map; null where missing
  ConfigNode* find(std::string_view key);
  void set(std::string_view key, ConfigNode value);  // replaces in place, or appends
  void set(std::string_view key, std::string_view text);
  void erase(std::string_view key);
  // The scalar under `type`. A ConfigError where it is missing.
  std::string type() const;
  // A copy with one key set.
  ConfigNode with(std::string_view key, ConfigNode value) const;

 private:
  Kind kind_ = Kind::null;
  Mark mark_;
  std::string text_;
  bool quoted_ = false;
  std::vector<ConfigNode> items_;
  std::vector<Entry> entries_;
};

struct ConfigNode::Entry {
  std::string key;
  Mark key_mark;
  ConfigNode value;
};

ConfigNode mechanism(std::string_view type);  // {type: TYPE}
// `rms_norm` stands for `{type: rms_norm}`; other nodes as they are.
ConfigNode as_map(const ConfigNode& n);

// Errors found in one pass over a configuration, reported together (the first 20), each with its line and a caret.
class Diagnostics {
 public:
  void error(const Mark& where, std::string message);
  bool empty() const { return errors_.empty(); }
  void throw_if_any() const;  // ConfigErrors with all of them
  // f(), whose ConfigErrors join these; its type's default value where it has any.
  template <class F>
  auto collect(F&& f) -> decltype(f());

 private:
  struct Item {
    Mark where;
    std::string message;
  };
  void join(const Diagnostics& others);
  std::string text() const;
  friend class ConfigErrors;
  std::vector<Item> errors_;
};

// A ConfigError that can be reported together with others.
class ConfigErrors final : public ConfigError {
 public:
  explicit ConfigErrors(Diagnostics found) : ConfigError(found.text()), found_(std::move(found)) {}
  const Diagnostics& found() const { return found_; }

 private:
  Diagnostics found_;
};

template <class F>
auto Diagnostics::collect(F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const ConfigErrors& e) {
    join(e.found());
    return {};
  }
}

// "PLACE: error: MESSAGE", with the line and a caret where there is one.
std::string located(const Mark& where, std::string_view message);
[[noreturn]] void throw_at(const Mark& where, const std::string& message);  // ConfigErrors with one

// YAML text to a tree. Refuses (ConfigError, with place): more than one document, duplicate keys, merge keys, custom
// tags, bytes that are not UTF-8, NUL, more than 1 MiB, depth over 64, more than 100,000 nodes (aliases expanded).
ConfigNode parse_config(std::string_view text, std::string source_name);
// Reads a file and what its `base:` names (a path or a list, relative to the including file; maps merge, lists
// replace; cycles and more than 8 levels are errors). `base` itself is not in the result.
ConfigNode load_config(const std::filesystem::path& file);
// `over` on top of `under`: maps merge, everything else replaces, and so does a map of another `type`: what was said of
// the old one says nothing of it. Not so `block`, `optim` and `schedule`, whose keys are mostly those of every type.
ConfigNode merge(const ConfigNode& under, const ConfigNode& over);
// Applies `a.b=VALUE`, `a.b[2]=VALUE` (VALUE a YAML scalar or flow collection) or `~a.b` (back to the default).
// `index` counts the assignments from 1, for messages ("--set #1").
void apply_override(ConfigNode& root, std::string_view assignment, int index);
// Block-style YAML that parse_config reads back as the same tree; floats stand as they were written.
std::string to_yaml(const ConfigNode&);
// The same tree on one line, in flow style, without a line break at its end.
std::string to_flow_yaml(const ConfigNode&);

}  // namespace effllm

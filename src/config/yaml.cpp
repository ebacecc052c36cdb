#include "config/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include "base/text.h"
#include "config/yaml_problem.h"

namespace effllm {
namespace {

// Builds the tree from the parser's events, so that limits hold while reading: a text that unfolds without end never
// exists in memory, and no step of it recurses.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::shared_ptr<const Source> source) : source_(std::move(source)) {}

  ConfigNode take_root() { return std::move(root_); }

  // yaml-cpp counts lines and columns from 0, and has -1 for "nowhere".
  Mark mark(const YAML::Mark& m) const {
    const int lines = static_cast<int>(source_->lines.size()), line = std::max(m.line, 0) + 1;
    if (line <= lines) return {source_, line, std::max(m.column, 0) + 1};
    return {source_, lines, static_cast<int>(source_->lines.back().size()) + 1};  // behind the end
  }

  void OnDocumentStart(const YAML::Mark& m) override {
    if (documents_++) throw_at(mark(m), "the text goes on after its one document");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& m, YAML::anchor_t anchor) override {
    count({1, 0, 0}, mark(m));
    add(ConfigNode::null(mark(m)), anchor);
  }
  void OnAlias(const YAML::Mark& m, YAML::anchor_t anchor) override {
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) throw_at(mark(m), "this alias stands inside what it names, so it has no end");
    const TreeSize size = measure(it->second);
    if (open_.size() + size.depth > kDeepestConfig) throw_deep(mark(m));
    count(size, mark(m));
    add(it->second, 0);
  }
  void OnScalar(const YAML::Mark& m, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    const Mark where = mark(m);
    refuse_tag(tag, where);
    if (text.find('\0') != std::string::npos) throw_at(where, "a text must not hold the character NUL");
    count({1, text.size(), 0}, where);
    add(ConfigNode::scalar(text, where, tag == "!"), anchor);
  }
  void OnSequenceStart(const YAML::Mark& m, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    begin(ConfigNode::list({}, mark(m)), tag, anchor);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& m, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    begin(ConfigNode::map(mark(m)), tag, anchor);
  }
  void OnMapEnd() override { end(); }

 private:
  // A map or list whose end has not come yet. A map takes keys and values in turn.
  struct Open {
    ConfigNode node;
    YAML::anchor_t anchor;
    std::optional<ConfigNode> key;
    std::unordered_set<std::string> keys;
  };

  [[noreturn]] static void throw_deep(const Mark& where) {
    throw_at(where, fmt::format("maps and lists are nested more than {} levels deep", kDeepestConfig));
  }

  // "?" stands for a plain node and "!" for a quoted scalar; all else was written out.
  static void refuse_tag(const std::string& tag, const Mark& where) {
    if (!tag.empty() && tag != "?" && tag != "!")
      throw_at(where,
               fmt::format("tags such as `{}` are not supported; a text that looks like a number needs quotes", tag));
  }

  // Adds to what the tree holds so far; an alias counts with all that it stands for.
  void count(const TreeSize& size, const Mark& where) {
    total_.nodes += size.nodes;
    total_.bytes += size.bytes;
    if (total_.nodes > kMostConfigNodes || total_.bytes > kMostConfigBytes)
      throw_at(where, fmt::format("the configuration has more than {} nodes or {} bytes once its aliases are expanded",
                                  kMostConfigNodes, kMostConfigBytes));
  }

  void begin(ConfigNode node, const std::string& tag, YAML::anchor_t anchor) {
    refuse_tag(tag, node.mark());
    if (open_.size() >= kDeepestConfig) throw_deep(node.mark());
    count({1, 0, 0}, node.mark());
    open_.push_back({std::move(node), anchor, {}, {}});
  }

  // A finished map or list goes to where its parent waits.
  void end() {
    ConfigNode node = std::move(open_.back().node);
    const YAML::anchor_t anchor = open_.back().anchor;
    open_.pop_back();
    add(std::move(node), anchor);
  }

  void add(ConfigNode node, YAML::anchor_t anchor) {
    if (anchor) {
      count(measure(node), node.mark());  // the copy counts as well: anchors may be nested
      anchors_.emplace(anchor, node);
    }
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (Open& top = open_.back(); top.node.is_list()) {
      top.node.items().push_back(std::move(node));
    } else if (!top.key) {
      check_key(node, top);
      top.key = std::move(node);
    } else {
      top.node.entries().push_back({top.key->text(), top.key->mark(), std::move(node)});
      top.key.reset();
    }
  }

  // yaml-cpp keeps duplicates and does not merge `<<`; both would silently lose settings.
  static void check_key(const ConfigNode& key, Open& map) {
    const Mark& where = key.mark().line ? key.mark() : map.node.mark();
    if (!key.is_scalar() || key.text().empty())
      throw_at(where, "a key must be a text that is not empty; perhaps a bracket or brace is not closed");
    if (key.text() == "<<") throw_at(where, "merge keys (`<<`) are not supported; use `base:` for what files share");
    if (key.text().size() > kMostKeyBytes)
      throw_at(where, fmt::format("this key has {} bytes; {} are allowed", key.text().size(), kMostKeyBytes));
    if (!map.keys.insert(key.text()).second) {
      const auto first = std::ranges::find(map.node.entries(), key.text(), &ConfigNode::Entry::key);
      throw_at(where,
               fmt::format("duplicate key `{}`; it was first given in line {}", key.text(), first->key_mark.line));
    }
  }

  std::shared_ptr<const Source> source_;
  int documents_ = 0;
  ConfigNode root_;
  std::vector<Open> open_;
  std::unordered_map<YAML::anchor_t, ConfigNode> anchors_;  // of nodes whose end has come
  TreeSize total_;
};

// Refuses what `printable` would have to escape: control characters (0x04 is the end of the text for yaml-cpp) and
// bytes that are not UTF-8.
void check_line(const std::string& line, const Mark& start) {
  const std::string clean = printable(line);
  if (clean == line) return;
  const auto at = static_cast<size_t>(std::ranges::mismatch(line, clean).in1 - line.begin());
  const Mark where{start.source, start.line, static_cast<int>(at) + 1};
  const auto byte = static_cast<unsigned char>(line[at]);
  if (byte < 0x80) throw_at(where, fmt::format("the control character 0x{:02x} is not allowed", byte));
  throw_at(where, fmt::format("the byte 0x{:02x} is not printable UTF-8; save the file as UTF-8", byte));
}

}  // namespace

TreeSize measure(const ConfigNode& node) {
  TreeSize size{1, node.text().size(), 0};
  const auto include = [&](const ConfigNode& child) {
    const TreeSize inner = measure(child);
    size.nodes += inner.nodes;
    size.bytes += inner.bytes;
    size.depth = std::max(size.depth, inner.depth);
  };
  for (const ConfigNode& item : node.items()) include(item);
  for (const ConfigNode::Entry& entry : node.entries()) {
    size.nodes += 1;
    size.bytes += entry.key.size();
    include(entry.value);
  }
  if (node.is_list() || node.is_map()) ++size.depth;
  return size;
}

std::shared_ptr<const Source> make_source(std::string_view text, std::string name) {
  const auto source = std::make_shared<Source>();
  source->name = std::move(name);
  if (text.size() > kMostConfigBytes)
    throw_at({source, 1, 1}, fmt::format("the text is longer than {} bytes", kMostConfigBytes));
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  while (true) {
    const size_t end = text.find('\n');
    std::string line(text.substr(0, end));
    if (line.ends_with('\r')) line.pop_back();
    source->lines.push_back(std::move(line));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  for (size_t i = 0; i < source->lines.size(); ++i) check_line(source->lines[i], {source, static_cast<int>(i) + 1, 1});
  return source;
}

ConfigNode parse_yaml(const std::string& text, const std::shared_ptr<const Source>& source) {
  TreeBuilder builder(source);
  // The end marker matters: without it yaml-cpp takes the end of the text for the missing end of a quoted scalar.
  std::istringstream in(text + (text.ends_with('\n') ? "..." : "\n..."));
  try {
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& e) {
    const bool open = e.msg == YAML::ErrorMsg::EOF_IN_SCALAR || e.msg == YAML::ErrorMsg::DOC_IN_SCALAR;
    const YamlProblem problem = explain_yaml(open ? "a quoted text has no end" : e.msg, builder.mark(e.mark));
    throw_at(problem.where, problem.message);
  }
  ConfigNode root = builder.take_root();
  return root.is_null() ? ConfigNode() : root;
}

ConfigNode parse_config(std::string_view text, std::string source_name) {
  const auto source = make_source(text, std::move(source_name));
  return parse_yaml(join(source->lines, "\n"), source);
}

}  // namespace effllm

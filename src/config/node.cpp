#include "config/node.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace effllm {
namespace {

constexpr size_t kMostErrors = 20;
// Bytes of a source line that a diagnostic shows before and after its place.
constexpr size_t kBefore = 70, kAfter = 50;

// Whether the byte goes on with a UTF-8 character, so that it takes no column of its own.
bool continues(char c) { return (c & 0xC0) == 0x80; }

// The nearest start of a UTF-8 character at or before `at`.
size_t character_start(std::string_view line, size_t at) {
  while (at > 0 && at < line.size() && continues(line[at])) --at;
  return at;
}

// Bytes of the word that starts at `at`: a quoted text, or up to what ends a plain scalar.
size_t word_length(std::string_view line, size_t at) {
  if (at >= line.size()) return 0;
  const bool quoted = line[at] == '"' || line[at] == '\'';
  const size_t close = quoted ? line.find(line[at], at + 1) : std::string_view::npos;
  if (close != std::string_view::npos) return close - at + 1;
  return std::max<size_t>(1, std::min(line.find_first_of(" \t,:=[]{}#", at), line.size()) - at);
}

// One column per character: control bytes made visible, a tab as one blank.
std::string shown(std::string_view bytes) {
  std::string out = printable(bytes);
  std::ranges::replace(out, '\t', ' ');
  return out;
}

size_t columns(std::string_view s) {
  return static_cast<size_t>(std::ranges::count_if(s, [](char c) { return !continues(c); }));
}

// Whether the text is an assignment of the command line (`--set #2`) rather than a file.
bool argument(const Source& source) { return source.name.starts_with("--"); }

// "\n   12 |   d_modle: 256\n      |   ^^^^^^^", or "" where the place has no text.
std::string excerpt(const Mark& where) {
  if (!where.source || where.line < 1 || static_cast<size_t>(where.line) > where.source->lines.size()) return "";
  const std::string_view line = where.source->lines[static_cast<size_t>(where.line) - 1];
  const size_t at = std::min(static_cast<size_t>(std::max(where.column, 1)) - 1, line.size());
  const size_t first = at > kBefore ? character_start(line, at - kBefore) : 0;
  const size_t last = at + kAfter < line.size() ? character_start(line, at + kAfter) : line.size();
  // The margin counts what is printed, not bytes: an escaped control byte is wider, a character of UTF-8 narrower.
  const std::string before = (first ? "..." : "") + shown(line.substr(first, at - first));
  const std::string after = shown(line.substr(at, last - at)) + (last < line.size() ? "..." : "");
  const size_t word = columns(shown(line.substr(at, std::min(word_length(line, at), last - at))));
  const std::string number = argument(*where.source) ? "" : std::to_string(where.line);
  return fmt::format("\n{:>5} | {}{}\n{:>5} | {:{}}{}", number, before, after, "", "", columns(before),
                     std::string(std::max<size_t>(word, 1), '^'));
}

}  // namespace

std::string Mark::text() const {
  if (!source || line <= 0) return "built-in default";
  const std::string name = printable(source->name);
  // An assignment of the command line is one line: its number says nothing.
  return argument(*source) ? name : fmt::format("{}:{}:{}", name, line, column);
}

ConfigNode ConfigNode::null(Mark mark) {
  ConfigNode node;
  node.mark_ = std::move(mark);
  return node;
}

ConfigNode ConfigNode::scalar(std::string text, Mark mark, bool quoted) {
  ConfigNode node;
  node.kind_ = Kind::scalar;
  node.text_ = std::move(text);
  node.mark_ = std::move(mark);
  node.quoted_ = quoted;
  return node;
}

ConfigNode ConfigNode::list() { return list(std::vector<ConfigNode>()); }

ConfigNode ConfigNode::list(std::vector<ConfigNode> items, Mark mark) {
  ConfigNode node;
  node.kind_ = Kind::list;
  node.items_ = std::move(items);
  node.mark_ = std::move(mark);
  return node;
}

ConfigNode ConfigNode::map(Mark mark) {
  ConfigNode node;
  node.kind_ = Kind::map;
  node.mark_ = std::move(mark);
  return node;
}

const ConfigNode* ConfigNode::find(std::string_view key) const {
  const auto it = std::ranges::find(entries_, key, &Entry::key);
  return it == entries_.end() ? nullptr : &it->value;
}

ConfigNode* ConfigNode::find(std::string_view key) { return const_cast<ConfigNode*>(std::as_const(*this).find(key)); }

void ConfigNode::set(std::string_view key, std::string_view text) { set(key, scalar(std::string(text))); }

void ConfigNode::set(std::string_view key, ConfigNode value) {
  // A tree grows from null: an empty file, or a key that override paths create.
  if (is_null()) kind_ = Kind::map;
  if (!is_map()) throw_at(mark_, fmt::format("`{}` cannot be set here: this is no map", key));
  if (ConfigNode* old = find(key)) {
    *old = std::move(value);
  } else {
    const Mark mark = value.mark();
    entries_.push_back({std::string(key), mark, std::move(value)});
  }
}

void ConfigNode::erase(std::string_view key) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
}

std::string ConfigNode::type() const {
  const ConfigNode* type = find("type");
  if (!type) throw_at(mark_, "`type` is missing here: write {type: NAME, ...}");
  if (!type->is_scalar()) throw_at(type->mark_.line ? type->mark_ : mark_, "`type` must be a name");
  return type->text_;
}

ConfigNode ConfigNode::with(std::string_view key, ConfigNode value) const {
  ConfigNode copy = *this;
  copy.set(key, std::move(value));
  return copy;
}

ConfigNode mechanism(std::string_view type) {
  ConfigNode m = ConfigNode::map();
  m.set("type", type);
  return m;
}

ConfigNode as_map(const ConfigNode& n) {
  if (!n.is_scalar()) return n;
  ConfigNode m = ConfigNode::map(n.mark());
  m.set("type", n);
  return m;
}

void Diagnostics::error(const Mark& where, std::string message) { errors_.push_back({where, std::move(message)}); }

// An error that is there already, as that of a part which several layers have, is not told again.
void Diagnostics::join(const Diagnostics& others) {
  for (const Item& item : others.errors_) {
    const auto same = [&](const Item& i) {
      return i.where.source == item.where.source && i.where.line == item.where.line &&
             i.where.column == item.where.column && i.message == item.message;
    };
    if (std::ranges::none_of(errors_, same)) errors_.push_back(item);
  }
}

void Diagnostics::throw_if_any() const {
  if (!empty()) throw ConfigErrors(*this);
}

std::string Diagnostics::text() const {
  std::vector<std::string> texts;
  for (size_t i = 0; i < std::min(errors_.size(), kMostErrors); ++i)
    texts.push_back(located(errors_[i].where, errors_[i].message));
  if (errors_.size() > kMostErrors)
    texts.push_back(fmt::format("and {}", counted(static_cast<int64_t>(errors_.size() - kMostErrors), "more error")));
  return effllm::join(texts, "\n");
}

// Messages quote what was written, which may hold control bytes.
std::string located(const Mark& where, std::string_view message) {
  return fmt::format("{}: error: {}{}", where.text(), printable(message), excerpt(where));
}

void throw_at(const Mark& where, const std::string& message) {
  Diagnostics found;
  found.error(where, message);
  throw ConfigErrors(found);
}

}  // namespace effllm

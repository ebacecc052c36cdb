#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/text.h"
#include "config/choice.h"
#include "config/number_hint.h"
#include "config/options.h"
#include "config/range_watch.h"

namespace effllm {
namespace {

constexpr size_t kMostSuggestions = 20, kLongestShown = 60;
constexpr std::string_view kList = "a list such as [a, b]";

// A value short enough for a message; the excerpt shows the rest.
std::string cut(std::string_view text) {
  return fmt::format("{}{}", text.substr(0, kLongestShown), text.size() > kLongestShown ? "..." : "");
}

// What stands at a node, for the end of a message.
std::string found_text(const ConfigNode& node) {
  if (node.is_list()) return "a list";
  if (node.is_map()) return "a map";
  if (node.is_null()) return "nothing";
  return node.quoted() ? fmt::format("the quoted text \"{}\"", cut(node.text()))
                       : fmt::format("`{}`", cut(node.text()));
}

// Digits that another reader could take for octal: 010, -007.5.
bool leading_zero(std::string_view s) {
  if (s.starts_with('-')) s.remove_prefix(1);
  return s.size() > 1 && s[0] == '0' && s[1] >= '0' && s[1] <= '9';
}

// The whole text as a number; `wanted` becomes what to write instead where the result is false.
template <class T>
bool parse_number(std::string_view s, T& value, std::string& wanted) {
  wanted = std::is_integral_v<T> ? "an integer such as 42" : "a number such as 0.5 or 3e-4";
  const auto [stop, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (stop != s.data() + s.size() || leading_zero(s)) return false;
  if (error == std::errc::result_out_of_range) wanted += " that 64 bits can hold";
  if constexpr (std::is_floating_point_v<T>)
    if (error == std::errc{} && !std::isfinite(value)) return false;
  return error == std::errc{};
}

// Replaces ${env:VAR} and ${env:VAR,default} by the variable's text. What the variable holds is not searched again, and
// must not hold `${`: the resolved configuration, read again, has to give the same text.
std::optional<std::string> expand_environment(const std::string& text, std::string& problem) {
  static constexpr std::string_view kOpen = "${env:";
  std::string out;
  size_t pos = 0;
  for (size_t open = text.find(kOpen); open != std::string::npos; open = text.find(kOpen, pos)) {
    out += text.substr(pos, open - pos);
    const size_t start = open + kOpen.size(), close = text.find('}', start);
    const std::string inside = text.substr(start, close == std::string::npos ? close : close - start);
    const size_t comma = inside.find(',');
    const std::string variable = inside.substr(0, comma);
    static constexpr auto kName = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    if (close == std::string::npos || variable.empty() || variable.find_first_not_of(kName) != std::string::npos) {
      problem = "write ${env:NAME} or ${env:NAME,default}";
      return {};
    }
    const char* set = std::getenv(variable.c_str());
    if (!set && comma == std::string::npos) {
      problem = fmt::format("the environment variable `{}` is not set; set it, or write ${{env:{},default}}", variable,
                            variable);
      return {};
    }
    const std::string value = set ? set : inside.substr(comma + 1);
    if (printable(value) != value || value.find("${") != std::string::npos) {
      problem = fmt::format("the value of `{}` holds `${{`, control characters or bytes that are not UTF-8", variable);
      return {};
    }
    out += value;
    pos = close + 1;
  }
  return out + text.substr(pos);
}

// Fills each field from the map. A field whose value is wrong keeps its default, and the visit goes on: errors collect.
class Reader final : public OptionVisitor {
 public:
  Reader(const ConfigNode& node, std::string_view owner, Diagnostics& found, std::vector<std::string_view>& fields)
      : node_(node), owner_(owner), found_(found), given_(fields) {}

  void elsewhere(std::string_view name, std::string_view key, std::string_view entry) override {
    elsewhere_.push_back({std::string(name), key, entry});
  }

  // To be called after the visit: keys that no field has.
  void refuse_unknown() {
    size_t count = 0;
    for (const ConfigNode::Entry& entry : node_.entries()) {
      if (entry.key == "type" || std::ranges::find(names_, entry.key) != names_.end()) continue;
      if (const auto e = std::ranges::find(elsewhere_, entry.key, &Elsewhere::name); e != elsewhere_.end()) {
        if (std::ranges::find(wrong_, e->key) == wrong_.end())  // else nobody knows what it belongs to
          found_.error(entry.key_mark, fmt::format("{}.{} belongs to {}: {}", owner_, e->name, e->key, e->entry));
        continue;
      }
      // Suggestions cost an edit distance per field, and only the first errors are shown.
      const std::string suggestion = ++count <= kMostSuggestions ? did_you_mean(entry.key, names_) : "";
      const std::string known =
          suggestion.empty() && !names_.empty() ? fmt::format(" It has {}.", fmt::join(names_, ", ")) : suggestion;
      found_.error(entry.key_mark, fmt::format("{} has no option `{}`.{}", owner_, entry.key, known));
    }
  }

 private:
  struct Elsewhere {
    std::string name;
    std::string_view key, entry;
  };

  void visit(std::string_view name, Field field, std::string_view, const Limits& limits) override {
    const ConfigNode* node = given(name);
    if (node && !std::visit([&](auto* f) { return value(*node, name, *f, limits); }, field)) wrong_.push_back(name);
  }

  // The value under `name`; null where it is missing, or written without a value (an error).
  const ConfigNode* given(std::string_view name) {
    names_.push_back(name);
    const auto entry = std::ranges::find(node_.entries(), name, &ConfigNode::Entry::key);
    if (entry == node_.entries().end()) return nullptr;
    given_.push_back(name);
    if (!entry->value.is_null()) return &entry->value;
    found_.error(entry->key_mark, fmt::format("`{}` has no value; leave the key out for its default", name));
    return nullptr;
  }

  // Records "`name` must be WANTED, not FOUND" and is false, for value() to return. `write`: what was meant, as it is
  // written, where that is known.
  bool refuse(const ConfigNode& node, std::string_view name, std::string_view wanted, std::string_view write = "") {
    const std::string hint = write.empty() ? "" : fmt::format("; write {}", write);
    found_.error(node.mark(), fmt::format("`{}` must be {}, not {}{}", name, wanted, found_text(node), hint));
    return false;
  }

  // value(): sets `field` from a node and is true, or records an error and is false. Quoted scalars are texts only.
  bool value(const ConfigNode& node, std::string_view name, bool& field, const Limits&) {
    const bool yes = node.text() == "true", no = node.text() == "false";
    if (!node.is_scalar() || node.quoted() || !(yes || no))
      return refuse(node, name, "true or false", truth_meant(node.text()));
    field = yes;
    return true;
  }

  template <class T>
  requires std::same_as<T, int64_t> || std::same_as<T, double>
  bool value(const ConfigNode& node, std::string_view name, T& field, const Limits& limits) {
    const Range range = limits.range;
    RangeWatch::note(node.mark(), range);
    T number = 0;
    std::string wanted;
    const bool good = parse_number(node.text(), number, wanted);
    if (!node.is_scalar() || node.quoted() || !good)
      return refuse(node, name, wanted, std::is_integral_v<T> ? integer_meant(node.text()) : number_meant(node.text()));
    if (const auto v = static_cast<double>(number); v < range.lo || v > range.hi)
      return refuse(node, name, (std::isfinite(range.lo + range.hi) ? "in the range " : "") + describe(range));
    field = number;
    return true;
  }

  bool value(const ConfigNode& node, std::string_view name, std::string& field, const Limits& limits) {
    const std::vector<std::string_view>& choices = limits.choices;
    if (!node.is_scalar()) return refuse(node, name, "a text");
    std::string problem;
    const std::optional<std::string> text = expand_environment(node.text(), problem);
    if (!text) {
      found_.error(node.mark(), fmt::format("`{}`: {}", name, problem));
      return false;
    }
    if (!choices.empty() && std::ranges::find(choices, *text) == choices.end()) {
      const std::string suggestion = text->size() <= kLongestShown ? did_you_mean(*text, choices) : "";
      found_.error(node.mark(), fmt::format("`{}` must be one of {}, not `{}`.{}", name, fmt::join(choices, ", "),
                                            cut(*text), suggestion));
      return false;
    }
    field = *text;
    return true;
  }

  template <class T>
  bool value(const ConfigNode& node, std::string_view name, std::optional<T>& field, const Limits& limits) {
    T given = 0;
    const bool good = value(node, name, given, limits);
    if (good) field = given;
    return good;
  }

  // All items or none: a list with a wrong item leaves the field as it was.
  template <class T>
  bool value(const ConfigNode& node, std::string_view name, std::vector<T>& field, const Limits& limits) {
    if (!node.is_list()) return refuse(node, name, kList);
    std::vector<T> values(node.items().size());
    bool good = true;
    for (size_t i = 0; i < values.size(); ++i)
      good &= value(node.items()[i], fmt::format("{}[{}]", name, i), values[i], limits);
    if (good) field = std::move(values);
    return good;
  }

  // What reads further down records its errors itself.
  bool value(const ConfigNode& node, std::string_view, AnyChoice& field, const Limits&) {
    field.read(node, found_);
    return true;
  }
  bool value(const ConfigNode& node, std::string_view name, AnyChoices& field, const Limits& limits) {
    if (!node.is_list()) return refuse(node, name, kList);
    const std::vector<AnyChoice*> choices = field.resized(node.items().size());
    for (size_t i = 0; i < choices.size(); ++i) value(node.items()[i], name, *choices[i], limits);
    return true;
  }
  bool value(const ConfigNode& node, std::string_view name, Options& field, const Limits&) {
    read(field, as_map(node), name, found_);
    return true;
  }
  static bool value(const ConfigNode& node, std::string_view, ConfigNode& field, const Limits&) {
    field = node;
    return true;
  }

  const ConfigNode& node_;
  std::string_view owner_;
  Diagnostics& found_;
  std::vector<std::string_view>& given_;
  std::vector<std::string_view> names_, wrong_;  // of all fields, and of those that could not be read
  std::vector<Elsewhere> elsewhere_;
};

}  // namespace

void read(Options& options, const ConfigNode& node, std::string_view owner, Diagnostics& found) {
  if (!node.is_map() && !(node.is_null() && node.mark().line == 0)) {
    found.error(node.mark(), fmt::format("{} must be a map of options, not {}", owner, found_text(node)));
    return;
  }
  options.mark = node.mark();
  Reader reader(node, owner, found, options.given);
  options.visit(reader);
  reader.refuse_unknown();
}

void read(Options& options, const ConfigNode& node, std::string_view owner) {
  Diagnostics found;
  read(options, node, owner, found);
  found.throw_if_any();
}

}  // namespace effllm

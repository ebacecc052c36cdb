// Assignments of the command line, PATH=VALUE and ~PATH, and those of a file.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "config/assign.h"
#include "config/rivals.h"
#include "config/yaml.h"

namespace effllm {
namespace {

// One step of a path: a key of a map, or (key empty) an item of a list.
struct Step {
  std::string key = {};
  size_t index = 0;
  Mark where;
  size_t end = 0;  // bytes of the assignment up to and with this step
};

// An assignment and where its parts stand.
struct Assignment {
  Mark start;
  std::string text;

  Mark at(size_t byte) const { return {start.source, start.line, start.column + static_cast<int>(byte)}; }
  std::string path_to(const Step& step) const {
    const size_t first = text.starts_with('~') ? 1 : 0;
    return text.substr(first, step.end - first);
  }
};

// `[2]` at `pos`, which moves behind it.
Step parse_index(const Assignment& a, size_t& pos, size_t end) {
  Step step{.where = a.at(pos)};
  const char *first = a.text.data() + pos + 1, *last = a.text.data() + end;
  const auto [stop, error] = std::from_chars(first, last, step.index);
  if (error != std::errc{} || stop == last || *stop != ']')
    throw_at(step.where, "an index is a number in brackets, counted from 0, such as layers[2]");
  pos = step.end = static_cast<size_t>(stop - a.text.data()) + 1;
  return step;
}

// The steps of the bytes [pos, end) of the assignment.
std::vector<Step> parse_path(const Assignment& a, size_t pos, size_t end) {
  std::vector<Step> steps;
  while (true) {
    const size_t stop = std::min(a.text.find_first_of(".[]", pos), end);
    const std::string key = a.text.substr(pos, stop - pos);
    if (key.empty()) throw_at(a.at(pos), "a key is missing here: a path is written a.b or a.b[2]");
    if (key.find_first_of(" \t\n") != std::string::npos || key.size() > kMostKeyBytes || key == "<<")
      throw_at(a.at(pos), "this is no key: a path is written a.b or a.b[2], without blanks");
    steps.push_back({.key = key, .where = a.at(pos), .end = stop});
    pos = stop;
    while (pos < end && a.text[pos] == '[') steps.push_back(parse_index(a, pos, end));
    if (pos >= end) return steps;
    if (a.text[pos] != '.') throw_at(a.at(pos), "expected `.` or `=` here");
    ++pos;
  }
}

// What stands behind the `=` at byte `equals`. It is read inside brackets that take the place of the `=`, so that it is
// YAML in flow style and its marks count the columns of the assignment.
ConfigNode parse_value(const Assignment& a, size_t equals) {
  const std::string inside = std::string(equals, ' ') + "[" + a.text.substr(equals + 1) + "]";
  ConfigNode values = parse_yaml(inside, a.start.source);
  if (!values.is_list() || values.items().empty())
    throw_at(a.at(equals + 1), "the value is missing; \"\" is the empty text, and ~PATH goes back to the default");
  if (values.items().size() > 1)
    throw_at(a.at(equals + 1), "this is more than one value; write a list as [a, b], or quote a text that has a comma");
  ConfigNode value = std::move(values.items().front());
  const auto line = static_cast<size_t>(value.mark().line), column = static_cast<size_t>(value.mark().column);
  if (value.is_map() && a.start.source->lines[line - 1].substr(column - 1, 1) != "{")
    throw_at(value.mark(), "write a map in braces, such as {type: gla}, or quote a text that has a colon");
  return value;
}

// The item of a list that `step` names.
ConfigNode& item(ConfigNode& list, const Step& step, const Assignment& a) {
  if (!list.is_list()) throw_at(step.where, fmt::format("`{}` asks for an item of what is no list", a.path_to(step)));
  if (step.index >= list.items().size())
    throw_at(step.where, fmt::format("`{}` is out of range: the list has {}, counted from 0", a.path_to(step),
                                     counted(static_cast<int64_t>(list.items().size()), "item")));
  return list.items()[step.index];
}

// The value under a key; where it is missing, null in a new entry.
ConfigNode& value_of(ConfigNode& map, const Step& step, const Assignment& a) {
  if (map.is_null()) map = ConfigNode::map(step.where);
  if (!map.is_map()) throw_at(step.where, fmt::format("`{}` asks for a key of what is no map", a.path_to(step)));
  auto& entries = map.entries();
  auto entry = std::ranges::find(entries, step.key, &ConfigNode::Entry::key);
  if (entry == entries.end()) entry = entries.insert(entries.end(), {step.key, step.where, {}});
  entry->key_mark = step.where;
  return entry->value;
}

// Works on a copy, so that a refused assignment changes nothing.
void put(ConfigNode& root, const Assignment& a, const std::vector<Step>& steps, ConfigNode value) {
  if (steps.size() + measure(value).depth > kDeepestConfig)
    throw_at(a.at(0), fmt::format("maps and lists would be nested more than {} levels deep", kDeepestConfig));
  ConfigNode changed = root;
  ConfigNode* place = &changed;
  for (const Step& step : steps) place = step.key.empty() ? &item(*place, step, a) : &value_of(*place, step, a);
  *place = std::move(value);
  if (steps.size() == 2 && !rivals_in(steps[0].key).empty())
    drop_rivals(*changed.find(steps[0].key), steps[0].key, steps[1].key);
  root = std::move(changed);
}

// PATH=VALUE.
void assign(ConfigNode& root, const Assignment& a) {
  const size_t equals = a.text.find('=');
  if (equals == std::string::npos)
    throw_at(a.at(a.text.size()), "`=` is missing: write PATH=VALUE, such as optim.lr=3e-4, or ~PATH");
  const std::vector<Step> steps = parse_path(a, 0, equals);
  put(root, a, steps, parse_value(a, equals));
}

// ~PATH. A key that is missing already has its default.
void take_away(ConfigNode& root, const Assignment& a) {
  if (const size_t equals = a.text.find('='); equals != std::string::npos)
    throw_at(a.at(equals), "~PATH goes back to the default and takes no value");
  const std::vector<Step> steps = parse_path(a, 1, a.text.size());
  const Step& last = steps.back();
  if (last.key.empty()) throw_at(last.where, "~PATH takes away a key; it cannot take away an item of a list");
  ConfigNode* place = &root;
  for (size_t i = 0; place && i + 1 < steps.size(); ++i)
    place = steps[i].key.empty() ? &item(*place, steps[i], a) : place->find(steps[i].key);
  if (place) place->erase(last.key);
}

}  // namespace

void apply_override(ConfigNode& root, std::string_view assignment, int index) {
  Assignment a{{make_source(assignment, fmt::format("--set #{}", index)), 1, 1}, {}};
  a.text = join(a.start.source->lines, "\n");
  a.text.starts_with('~') ? take_away(root, a) : assign(root, a);
}

void assign(ConfigNode& root, const WrittenOverride& o) {
  const Assignment a{o.mark, o.path};
  if (o.path.starts_with('~') && !o.value.is_null())
    throw_at(o.mark, "~PATH goes back to the default and takes no value");
  if (o.path.starts_with('~')) return take_away(root, a);
  if (o.value.is_null())
    throw_at(o.mark, "the value is missing; \"\" is the empty text, and ~PATH goes back to the default");
  put(root, a, parse_path(a, 0, o.path.size()), o.value);
}

}  // namespace effllm

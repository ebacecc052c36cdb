#include "config/yaml_problem.h"

#include <fmt/format.h>

namespace effllm {
namespace {

constexpr auto npos = std::string::npos;

// A blank follows each colon that ends a key.
size_t key_end(const std::string& line, size_t from = 0) {
  for (size_t at = line.find(':', from); at != npos; at = line.find(':', at + 1))
    if (at + 1 == line.size() || line[at + 1] == ' ' || line[at + 1] == '\t') return at;
  return npos;
}

std::string trimmed(const std::string& text) {
  const size_t from = text.find_first_not_of(" \t"), to = text.find_last_not_of(" \t");
  return from == npos ? "" : text.substr(from, to - from + 1);
}

}  // namespace

YamlProblem explain_yaml(std::string_view said, const Mark& where) {
  const std::string& line = where.source->lines[static_cast<size_t>(where.line) - 1];
  const size_t text = line.find_first_not_of(" \t"), tab = line.find('\t');
  if (tab != npos && (text == npos || tab < text))
    return {{where.source, where.line, static_cast<int>(tab) + 1},
            "this line is indented with a tab; YAML takes spaces only"};
  const size_t key = key_end(line), second = key == npos ? npos : key_end(line, key + 1);
  if (said == "illegal map value" && second != npos) {
    std::string value = trimmed(line.substr(key + 1));
    if (const size_t comment = value.find(" #"); comment != npos) value = trimmed(value.substr(0, comment));
    const bool quotable = value.find_first_of("\"'\\") == npos;
    return {where,
            quotable ? fmt::format("a text with a colon needs quotes: {}: \"{}\"", trimmed(line.substr(0, key)), value)
                     : "a text with a colon needs quotes around all of it"};
  }
  if (said == "illegal map value" && where.line > 1)
    return {where, "a key cannot stand here: the line above it has a value already and is indented less"};
  if (said == "end of map not found") return {where, "this line is indented like none of the keys above it"};
  if (said == "end of map flow not found" || said == "end of sequence flow not found")
    return {where, "a bracket or brace is not closed here, or a text that holds one of , : [ ] { } needs quotes"};
  return {where, fmt::format("this is not valid YAML: {}", said)};
}

}  // namespace effllm

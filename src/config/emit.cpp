#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "base/text.h"
#include "base/utf8.h"
#include "config/yaml.h"

namespace effllm {
namespace {

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

// What yaml-cpp takes for null where it stands without quotes.
bool reads_as_null(std::string_view text) { return text.empty() || one_of(text, {"~", "null", "Null", "NULL"}); }

// Whether some YAML reader would take the plain text for a number, a date or a boolean.
bool reads_as_value(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return one_of(lower, {"true", "false", "yes", "no", "on", "off"}) ||
         std::string_view("0123456789+-.").find(text.front()) != std::string_view::npos;
}

// Flow collections are on one line, in brackets; `ascii` has escapes for all that is not.
struct Style {
  bool flow = false, ascii = false;
};

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Whether the text can stand without quotes: it neither ends early nor begins something else.
bool plain(std::string_view text, Style style) {
  using std::string_view;
  if (style.ascii && !is_ascii(text)) return false;
  if (reads_as_null(text) || printable(text) != text || text.find_first_of("\n\t") != string_view::npos) return false;
  if (text.starts_with("\xEF\xBB\xBF")) return false;  // a byte-order mark would be skipped
  if (text.front() == ' ' || text.back() == ' ' || text.back() == ':') return false;
  if (string_view(",[]{}#&*!|>'\"%@`?:").find(text.front()) != string_view::npos) return false;
  if (text.starts_with("---") || text.starts_with("...") || text == "-" || text.starts_with("- ")) return false;
  if (text.find(": ") != string_view::npos || text.find(" #") != string_view::npos) return false;
  // yaml-cpp ends a plain scalar of a flow collection at `?` too, and trusts no leading dash there.
  return !style.flow || (text.find_first_of(",[]{}?:") == string_view::npos && !text.starts_with('-'));
}

// -1.5 and its like may start with the dash that `plain` does not trust in flow style.
bool negative_number(std::string_view text) {
  return text.size() > 1 && text[0] == '-' && text.find_first_not_of("0123456789.eE+-") == std::string_view::npos &&
         text[1] >= '0' && text[1] <= '9';
}

// The escape of the UTF-8 sequence that starts at text[i], which moves to its last byte. Texts are checked to be UTF-8.
std::string escape(std::string_view text, size_t& i) {
  const auto [point, length] = decode_utf8(text, i);
  i += std::max<size_t>(length, 1) - 1;
  return point < 0x100     ? fmt::format("\\x{:02x}", point)
         : point < 0x10000 ? fmt::format("\\u{:04x}", point)
                           : fmt::format("\\U{:08x}", point);
}

// A double-quoted scalar on one line; only this style has escapes for all characters.
std::string quote(std::string_view text, Style style) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (c == '"' || c == '\\') {
      out += {'\\', text[i]};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", c);
    } else if ((style.ascii && c >= 0x80) ||
               (c == 0xC2 && next >= 0x80 && next < 0xA0)) {  // the control characters U+0080 to U+009F
      out += escape(text, i);
    } else {
      out += text[i];
    }
  }
  return out + "\"";
}

// A key as it may stand in both styles; one that looks like a number is quoted for other readers.
std::string key_text(const std::string& key, Style style) {
  style.flow = true;
  return plain(key, style) && !reads_as_value(key) ? key : quote(key, style);
}

// Quotes stay only where the plain text would have another type, or would not be read as one scalar.
std::string scalar_text(const ConfigNode& node, Style style) {
  const std::string& text = node.text();
  const bool safe = plain(text, style) || negative_number(text);
  return safe && !(node.quoted() && reads_as_value(text)) ? text : quote(text, style);
}

std::string flow_text(const ConfigNode& node, Style style) {
  style.flow = true;
  std::string out;
  switch (node.kind()) {
    case ConfigNode::Kind::null:
      return "null";
    case ConfigNode::Kind::scalar:
      return scalar_text(node, style);
    case ConfigNode::Kind::list:
      for (const ConfigNode& item : node.items()) out += (out.empty() ? "" : ", ") + flow_text(item, style);
      return "[" + out + "]";
    case ConfigNode::Kind::map:
      for (const ConfigNode::Entry& entry : node.entries())
        out += (out.empty() ? "" : ", ") + key_text(entry.key, style) + ": " + flow_text(entry.value, style);
      return "{" + out + "}";
  }
  return out;
}

// Maps take lines of their own, and so does a list that holds one.
bool inline_form(const ConfigNode& node) {
  return node.entries().empty() && std::ranges::all_of(node.items(), inline_form);
}

// Appends the lines of a map or list at `indent`. The caller may have begun the first line: its indent is left out.
void append_block(const ConfigNode& node, size_t indent, bool begun, Style style, std::string& out) {
  const auto margin = [&] { return std::string(std::exchange(begun, false) ? 0 : indent, ' '); };
  for (const ConfigNode::Entry& entry : node.entries()) {
    out += margin() + key_text(entry.key, style) + ":";
    if (inline_form(entry.value)) {
      out += " " + (entry.value.is_scalar() ? scalar_text(entry.value, style) : flow_text(entry.value, style)) + "\n";
    } else {
      out += "\n";
      append_block(entry.value, indent + 2, false, style, out);
    }
  }
  for (const ConfigNode& item : node.items()) {
    out += margin() + "-";
    if (inline_form(item)) {
      out += " " + flow_text(item, style) + "\n";
    } else {
      out += item.is_map() ? " " : "\n";
      append_block(item, indent + 2, item.is_map(), style, out);
    }
  }
}

std::string document(const ConfigNode& node, Style style) {
  if (inline_form(node)) return flow_text(node, style) + "\n";
  std::string out;
  append_block(node, 0, false, style, out);
  return out;
}

}  // namespace

std::string to_yaml(const ConfigNode& node) { return document(node, {}); }

std::string to_ascii_yaml(const ConfigNode& node) { return document(node, {.ascii = true}); }

std::string to_flow_yaml(const ConfigNode& node) { return flow_text(node, {}); }

std::string yaml_float(double v) {
  require(std::isfinite(v), "a configuration has no place for {}", v);
  std::string text = shortest(v);
  if (text.find('.') == text.npos) text.insert(std::min(text.find('e'), text.size()), ".0");
  return text;
}

}  // namespace effllm

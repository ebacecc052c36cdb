// YAML text with a known origin; what parse_config and apply_override share. How other programs like to read it.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "config/node.h"

namespace effllm {

constexpr size_t kMostConfigBytes = size_t{1} << 20, kMostConfigNodes = 100'000, kMostKeyBytes = 128;
constexpr size_t kDeepestConfig = 64;  // maps and lists within one another

// Nodes (keys among them), bytes of text, and maps and lists within one another (0 for a scalar).
struct TreeSize {
  size_t nodes = 0, bytes = 0, depth = 0;
};
TreeSize measure(const ConfigNode&);

// The lines of `text`, without byte-order mark and carriage returns. A ConfigError with the place for more than 1 MiB,
// a byte that is not UTF-8 and a control character other than tab.
std::shared_ptr<const Source> make_source(std::string_view text, std::string name);
// The tree of one YAML document; null for an empty one. Marks point into `source`, which holds `text` or a text of the
// same columns. A ConfigError for all that node.h says parse_config refuses.
ConfigNode parse_yaml(const std::string& text, const std::shared_ptr<const Source>& source);

// A float that readers of YAML 1.1 take for one, too: with a point, and a sign in the exponent: 1.0e-05, 10000.0.
std::string yaml_float(double v);
// to_yaml in ASCII alone: other characters are escapes of double-quoted texts. It is read back as the same tree.
std::string to_ascii_yaml(const ConfigNode& node);

}  // namespace effllm

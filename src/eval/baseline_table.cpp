#include "eval/baseline_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace effllm {
namespace {

// Where `name` stands in `names`; added where missing.
size_t place_of(std::vector<std::string>& names, const std::string& name) {
  const auto it = std::ranges::find(names, name);
  if (it != names.end()) return static_cast<size_t>(it - names.begin());
  names.push_back(name);
  return names.size() - 1;
}

}  // namespace

std::string baseline_table(double model_bits_per_byte, const Baselines& b, bool bound) {
  std::vector<std::string> before = {"nothing", "train"}, names = {"this model"};
  for (const Baseline& r : b.rows) place_of(before, r.before), place_of(names, r.name + (r.adapts ? " *" : ""));
  std::vector<std::vector<std::string>> cells(names.size() + 1, std::vector<std::string>(before.size() + 1));
  cells[0][0] = "bits/byte after reading";
  for (size_t i = 0; i < before.size(); ++i) cells[0][i + 1] = before[i];
  for (size_t i = 0; i < names.size(); ++i) cells[i + 1][0] = names[i];
  cells[1][2] = fmt::format("{}{:.3f}", bound ? "<= " : "", model_bits_per_byte);
  bool adapts = false;
  int64_t cut = 0;  // bytes, where the text before was cut to them
  for (const Baseline& r : b.rows) {
    cells[place_of(names, r.name + (r.adapts ? " *" : "")) + 1][place_of(before, r.before) + 1] =
        fmt::format("{:.3f}", r.bits_per_byte);
    adapts = adapts || r.adapts;
    if (r.cut) cut = r.before_bytes;
  }
  std::string text = b.rows.empty() ? "" : table(cells);
  if (adapts) text += "* adapts while it is scored: size(text before + this text) - size(text before)\n";
  if (cut) text += fmt::format("  with no more before than the last {} MiB\n", cut >> 20);
  for (const LeftOut& l : b.left_out) text += fmt::format("left out: {}: {}\n", l.name, l.reason);
  return text;
}

}  // namespace effllm

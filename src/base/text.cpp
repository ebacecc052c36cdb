#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/utf8.h"

namespace effllm {
namespace {

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> two_above, above, row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    two_above = std::exchange(above, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], two_above[j - 2] + 1);
    }
  }
  return row.back();
}

}  // namespace

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view best;
  size_t least = word.size() <= 3 ? 2 : word.size() <= 8 ? 3 : 4;
  for (std::string_view c : candidates)
    if (const size_t d = edit_distance(word, c); d < least) least = d, best = c;
  return best.empty() ? "" : fmt::format(" Did you mean `{}`?", best);
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  return did_you_mean(word, views);
}

namespace {

// Three digits, or all before the point.
std::string three_digits(double n) {
  const double a = std::abs(n);
  return fmt::format("{:.{}f}", n, a < 9.995 ? 2 : a < 99.95 ? 1 : 0);
}

}  // namespace

std::string human_count(double n) {
  static constexpr const char* kUnits[] = {"", " K", " M", " G", " T", " P", " E"};
  size_t u = 0;  // a unit begins where three digits of the one before would round to 1000
  while (std::abs(n) >= 999.5 && u + 1 < std::size(kUnits)) n /= 1000, ++u;
  return u ? three_digits(n) + kUnits[u] : fmt::format("{:.0f}", n);
}

std::string counted(int64_t n, std::string_view thing) { return fmt::format("{} {}{}", n, thing, n == 1 ? "" : "s"); }

std::string human_counted(double n, std::string_view thing) {
  const std::string shown = human_count(n);
  return fmt::format("{} {}{}", shown, thing, shown == "1" ? "" : "s");
}

std::string human_bytes(double n) {
  static constexpr const char* kUnits[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
  size_t u = 0;
  while (std::abs(n) >= (u ? 1023.5 : 1024) && u + 1 < std::size(kUnits)) n /= 1024, ++u;
  return (u ? three_digits(n) : fmt::format("{:.0f}", n)) + kUnits[u];
}

std::string human_percent(double part) {
  const double p = 100 * part;
  return p > 0 && p < 0.05 ? "<0.1 %" : fmt::format("{:.1f} %", p);
}

std::string human_seconds(double s) {
  if (!(s >= 0) || s > 1e9) return "?";
  if (s < 10) return fmt::format("{:.1f} s", s);
  const int64_t t = std::llround(s);
  if (t < 60) return fmt::format("{} s", t);
  if (t < 3600) return fmt::format("{} min {:02} s", t / 60, t % 60);
  return fmt::format("{} h {:02} min", t / 3600, t / 60 % 60);
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string shortest(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  return fmt::format("{}", v);
}

std::string readable(double v) {
  if (const std::string exact = shortest(v); exact.size() <= 8 || v == std::round(v)) return exact;
  for (int64_t q = 2; q <= 16; ++q)
    if (const double p = std::round(v * static_cast<double>(q)); p != 0 && p / static_cast<double>(q) == v)
      return fmt::format("{:.0f}/{}", p, q);
  return shortest(v);
}

std::string printable(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    const size_t n = decode_utf8(bytes, i).length;
    const bool control = n == 1 && (c < 0x20 || c == 0x7F) && c != '\n' && c != '\t';
    const bool c1 = n == 2 && c == 0xC2 && static_cast<unsigned char>(bytes[i + 1]) < 0xA0;
    if (n == 0 || control) {
      out += fmt::format("\\x{:02x}", c);
      i += 1;
    } else if (c1) {
      out += fmt::format("\\x{:02x}\\x{:02x}", c, static_cast<unsigned char>(bytes[i + 1]));
      i += 2;
    } else {
      out += bytes.substr(i, n);
      i += n;
    }
  }
  return out;
}

}  // namespace effllm

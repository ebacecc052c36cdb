// How much memory an n-gram model takes, from one pass over its text.
#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "eval/ngram.h"

namespace effllm {
namespace {

constexpr size_t kFewestBits = size_t{1} << 10, kMostBits = size_t{1} << 26;

// About how many different n-grams there are of 1, 2 ... `order` tokens, within a hundredth. Linear counting (Whang,
// Vander-Zanden and Taylor 1990): where hashes of all of them have set bits of m, and z are still 0, -m ln(z / m).
std::vector<double> different_ngrams(std::span<const int32_t> tokens, int order) {
  const size_t m = std::clamp(std::bit_ceil(tokens.size()), kFewestBits, kMostBits), n = static_cast<size_t>(order);
  std::vector<std::vector<bool>> seen(n, std::vector<bool>(m));
  for (size_t i = 0; i < tokens.size(); ++i) {
    uint64_t hash = 0;
    for (size_t length = 1; length <= std::min(n, i + 1); ++length) {
      hash = mix_bits(hash + static_cast<uint64_t>(tokens[i + 1 - length]) + 1);
      seen[length - 1][hash & (m - 1)] = true;
    }
  }
  std::vector<double> counts;
  for (const auto& bits : seen) {
    const auto zeros = static_cast<double>(std::max<int64_t>(1, std::ranges::count(bits, false)));
    counts.push_back(-static_cast<double>(m) * std::log(zeros / static_cast<double>(m)));
  }
  return counts;
}

// Slots of a table of so many keys, which is at most half full.
double slots(double keys) { return std::exp2(std::ceil(std::log2(std::max(16.0, 2 * 1.02 * keys)))); }

}  // namespace

double NgramModel::bytes_needed(std::span<const int32_t> tokens, int order) {
  double all = 0, largest = 0, histories = 1;
  for (const double grams : different_ngrams(tokens, order)) {
    for (const double table : {slots(grams) * sizeof(Gram), slots(histories) * sizeof(History)}) {
      all += table;
      largest = std::max(largest, table);
    }
    histories = grams;
  }
  return all + largest / 2;  // while it grows there is a table of half its size beside it
}

}  // namespace effllm

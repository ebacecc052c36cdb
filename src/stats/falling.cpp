#include "stats/falling.h"

#include <cmath>

#include "base/error.h"

namespace effllm {

std::vector<double> falling_fit(std::span<const double> y) {
  struct Block {
    double sum;
    size_t count;
    double mean() const { return sum / static_cast<double>(count); }
  };
  std::vector<Block> blocks;
  for (const double v : y) {
    blocks.push_back({v, 1});
    while (blocks.size() > 1 && blocks.back().mean() > blocks[blocks.size() - 2].mean()) {
      const Block last = blocks.back();
      blocks.pop_back();
      blocks.back().sum += last.sum, blocks.back().count += last.count;
    }
  }
  std::vector<double> fit;
  for (const Block& b : blocks) fit.insert(fit.end(), b.count, b.mean());
  return fit;
}

std::optional<double> first_reached(std::span<const double> x, std::span<const double> y, double level) {
  require(x.size() == y.size(), "{} places of {} measurements", x.size(), y.size());
  const std::vector<double> fit = falling_fit(y);
  for (size_t i = 0; i < fit.size(); ++i) {
    if (fit[i] > level) continue;
    if (fit[i] == level) return x[i];
    if (i == 0) return std::nullopt;
    const double part = (fit[i - 1] - level) / (fit[i - 1] - fit[i]);
    return std::exp(std::log(x[i - 1]) + part * (std::log(x[i]) - std::log(x[i - 1])));
  }
  return std::nullopt;
}

}  // namespace effllm

#include "objectives/spread.h"

#include <cmath>
#include <numbers>

#include "base/random.h"

namespace effllm {
namespace {

double fraction(double x) { return x - std::floor(x); }

}  // namespace

BatchSpread::BatchSpread(std::string_view purpose, const BatchRows& rows, const Context& cx, int64_t each)
    : purpose_(purpose),
      rows_(rows),
      cx_(cx),
      each_(each),
      start_(RandomStream(cx.seed, purpose_ + ".start", static_cast<uint64_t>(cx.step)).uniform(0)) {}

double BatchSpread::operator()(int64_t row, int64_t number) const {
  const RandomStream inside(cx_.seed, purpose_, static_cast<uint64_t>(cx_.step),
                            static_cast<uint64_t>(cx_.samples[row]));
  const int64_t part = (rows_.first + row) * each_ + number,
                parts = (rows_.of ? rows_.of : rows_.inputs.dim(0)) * each_;
  return fraction(start_ + (static_cast<double>(part) + inside.uniform(static_cast<uint64_t>(number))) /
                               static_cast<double>(parts));
}

double spread_over_draws(std::string_view purpose, const Scoring& how, int64_t number, int64_t draw) {
  return fraction(RandomStream(how.seed, purpose).uniform(0) + static_cast<double>(number) / std::numbers::phi +
                  static_cast<double>(draw) / static_cast<double>(how.samples));
}

void MeanOfDraws::add(const std::vector<double>& nats) {
  ++draws_;
  for (size_t i = 0; i < scores_.size(); ++i) {
    const double before = nats[i] - scores_[i].nats;
    scores_[i].nats += before / draws_;
    scores_[i].variance += before * (nats[i] - scores_[i].nats);
  }
}

std::vector<RowScore> MeanOfDraws::scores() const {
  std::vector<RowScore> all = scores_;
  for (RowScore& s : all) s.variance /= draws_ * (draws_ - 1);
  return all;
}

}  // namespace effllm

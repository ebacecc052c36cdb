#include "objectives/hidden_tokens.h"

#include <algorithm>

#include "base/random.h"
#include "objectives/spread.h"

namespace effllm {

BatchRows hidden(const BatchRows& rows, int64_t mask, const std::function<Hide(int64_t row, int64_t token)>& hide) {
  BatchRows out = rows;
  for (Tensor* t : {&out.inputs, &out.targets}) *t = Tensor::dense(rows.inputs.shape(), DType::i32);
  if (rows.inputs.is_meta()) return out;
  const int64_t tokens = rows.inputs.dim(1);
  for (int64_t i = 0; i < rows.inputs.numel(); ++i) {
    const int32_t target = rows.targets.data<int32_t>()[i];
    const Hide h = target == kIgnoredTarget ? Hide::no : hide(i / tokens, i % tokens);
    out.inputs.data<int32_t>()[i] = h == Hide::no ? rows.inputs.data<int32_t>()[i] : static_cast<int32_t>(mask);
    out.targets.data<int32_t>()[i] = h == Hide::counts ? target : kIgnoredTarget;
  }
  return out;
}

std::vector<std::vector<int64_t>> counted_places(const BatchRows& rows) {
  std::vector<std::vector<int64_t>> all(static_cast<size_t>(rows.inputs.dim(0)));
  const int64_t tokens = rows.inputs.dim(1);
  for (int64_t i = 0; !rows.inputs.is_meta() && i < rows.inputs.numel(); ++i)
    if (rows.targets.data<int32_t>()[i] != kIgnoredTarget) all[static_cast<size_t>(i / tokens)].push_back(i % tokens);
  return all;
}

void draw_first(std::vector<int64_t>& places, int64_t count, const RandomStream& numbers) {
  const auto all = static_cast<uint64_t>(places.size());
  for (uint64_t i = 0; i < static_cast<uint64_t>(count); ++i)
    std::swap(places[i], places[i + numbers.below(i, all - i)]);
}

std::vector<double> nats_of(const LanguageModel& model, const Tensor& x, const Tensor& targets, const Tensor& weights) {
  const int64_t tokens = x.dim(1);
  std::vector<double> all;
  for (int64_t b = 0; b < x.dim(0); ++b) {
    const Tensor sum = model
                           .head_loss(x.row_range(b * tokens, {tokens, x.cols()}), targets.row_range(b, {tokens}), 1, 0,
                                      weights.row_range(b, {tokens}))
                           .loss;
    all.push_back(sum.is_meta() ? 0 : *sum.data<double>());
  }
  return all;
}

WeightedNats nats_of(const LanguageModel& model) {
  return [&model](const BatchRows& seen, const Tensor& weights) {
    return nats_of(model, model.body(seen.inputs, with_documents({}, seen), nullptr), seen.targets, weights);
  };
}

HiddenScore::HiddenScore(std::string_view name, const BatchRows& rows, int64_t mask, WeightedNats nats, int64_t block)
    : name_(name),
      rows_(rows),
      mask_(mask),
      blocks_(block ? (rows.inputs.dim(1) + block - 1) / block : 1),
      nats_(std::move(nats)) {
  const int64_t each = block ? block : rows.inputs.dim(1);
  const auto places = counted_places(rows);
  for (int64_t b = 0; b < rows.inputs.dim(0); ++b) {
    const size_t first = groups_.size();
    for (int64_t k = 0; k < blocks_; ++k) groups_.push_back({b, k, {}});
    for (const int64_t i : places[static_cast<size_t>(b)])
      groups_[first + static_cast<size_t>(i / each)].places.push_back(i);
  }
}

std::vector<RowScore> HiddenScore::operator()(const Scoring& how) const {
  require(!how.state, "{}: a row is seen as a whole, and goes on from no state", name_);
  return how.left_to_right ? one_order() : how.each_alone ? each_alone() : all_orders(how);
}

size_t HiddenScore::longest() const {
  size_t most = 1;
  for (const Group& g : groups_) most = std::max(most, g.places.size());
  return most;
}

std::vector<double> HiddenScore::nats(const std::function<Hide(size_t g, size_t i)>& hide,
                                      const std::vector<double>& weight) const {
  const int64_t tokens = rows_.inputs.dim(1);
  std::vector<Hide> what(static_cast<size_t>(rows_.inputs.numel()), Hide::no);
  const Tensor weights = Tensor::dense(rows_.inputs.shape(), DType::f64);
  if (!weights.is_meta()) std::fill_n(weights.data<double>(), weights.numel(), 0.0);
  for (size_t g = 0; g < groups_.size(); ++g)
    for (size_t i = 0; i < groups_[g].places.size(); ++i) {
      const int64_t at = groups_[g].row * tokens + groups_[g].places[i];
      what[static_cast<size_t>(at)] = hide(g, i);
      weights.data<double>()[at] = weight.empty() ? 1 : weight[g];
    }
  return nats_(hidden(rows_, mask_, [&](int64_t b, int64_t t) { return what[static_cast<size_t>(b * tokens + t)]; }),
               weights);
}

int64_t HiddenScore::how_many(const Group& g, int64_t number, int64_t draw, const Scoring& how) const {
  const auto tokens = static_cast<int64_t>(g.places.size());
  const double u = spread_over_draws(name_ + ".how_many", how, number, draw);
  return 1 + std::min(tokens - 1, static_cast<int64_t>(u * static_cast<double>(tokens)));
}

std::vector<RowScore> HiddenScore::all_orders(const Scoring& how) const {
  MeanOfDraws mean(rows_.inputs.dim(0));
  for (int64_t k = 0; k < (rows_.inputs.is_meta() ? 1 : how.samples); ++k) {
    std::vector<std::vector<bool>> drawn;
    std::vector<double> factor;
    for (const Group& g : groups_) {
      const int64_t number = (how.first + g.row) * blocks_ + g.block, length = static_cast<int64_t>(g.places.size());
      const int64_t n = length ? how_many(g, number, k, how) : 0;
      std::vector<int64_t> order(g.places.size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
      draw_first(order, n, {how.seed, name_ + ".which", static_cast<uint64_t>(number), static_cast<uint64_t>(k)});
      drawn.emplace_back(order.size());
      for (int64_t i = 0; i < n; ++i) drawn.back()[static_cast<size_t>(order[static_cast<size_t>(i)])] = true;
      factor.push_back(n ? static_cast<double>(length) / static_cast<double>(n) : 0);
    }
    mean.add(nats([&](size_t g, size_t i) { return drawn[g][i] ? Hide::counts : Hide::no; }, factor));
  }
  return mean.scores();
}

std::vector<RowScore> HiddenScore::one_order() const {
  std::vector<RowScore> all(static_cast<size_t>(rows_.inputs.dim(0)));
  for (size_t known = 0; known < longest(); ++known) {
    const auto hide = [&](size_t, size_t i) {
      if (i < known) return Hide::no;
      return i == known ? Hide::counts : Hide::only;
    };
    const std::vector<double> found = nats(hide, {});
    for (size_t b = 0; b < all.size(); ++b) all[b].nats += found[b];
  }
  return all;
}

std::vector<RowScore> HiddenScore::each_alone() const {
  std::vector<RowScore> all(static_cast<size_t>(rows_.inputs.dim(0)));
  for (size_t one = 0; one < longest(); ++one) {
    const std::vector<double> found = nats([&](size_t, size_t i) { return i == one ? Hide::counts : Hide::no; }, {});
    for (size_t b = 0; b < all.size(); ++b) all[b].nats += found[b];
  }
  return all;
}

}  // namespace effllm

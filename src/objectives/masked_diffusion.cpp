// Masked diffusion (MDLM: Sahoo et al. 2024, arXiv:2406.07524; LLaDA: Nie et al. 2025, arXiv:2502.09992): a model that
// sees a text with some of its tokens masked predicts those. At time t, uniform in (0, 1), each token is masked with
// probability t; the loss is sum -log p / t over the masked tokens, in the mean a bound of -log p of the whole text.
// A token that is seen is known, MASK is never predicted, and the model is not told t.
//
// Evaluation masks exactly l of a row's L tokens, l uniform in 1 .. L: the mean of L / l sum -log p is that of -log p
// over all orders of the tokens, which bounds -log p of the mixture of them (Ou et al. 2024, arXiv:2406.03736).
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/random.h"
#include "objectives/objective.h"

namespace effllm::objectives {
namespace {

struct MaskedDiffusionOptions final : Options {
  double eps = 0;
  void visit(OptionVisitor& v) override {
    v("eps", eps,
      "Sets the least part of tokens that training masks: eps + (1 - eps) t at time t; above 0 the loss is no bound "
      "(LLaDA: 1e-3).",
      between(0, 0.5));
  }
};

enum class Hide { no, counts, only };  // seen; masked, with a loss; masked, without

// The rows with the tokens masked that hide(row, token) says; only targets that count are asked about.
template <class F>
BatchRows masked(const LanguageModel& model, const BatchRows& rows, F&& hide) {
  BatchRows out = rows;
  for (Tensor* t : {&out.inputs, &out.targets}) *t = Tensor::dense(rows.inputs.shape(), DType::i32);
  if (rows.inputs.is_meta()) return out;
  const int64_t tokens = rows.inputs.dim(1);
  for (int64_t i = 0; i < rows.inputs.numel(); ++i) {
    const int32_t target = rows.targets.data<int32_t>()[i];
    const Hide h = target == kIgnoredTarget ? Hide::no : hide(i / tokens, i % tokens);
    out.inputs.data<int32_t>()[i] =
        h == Hide::no ? rows.inputs.data<int32_t>()[i] : static_cast<int32_t>(model.vocab());
    out.targets.data<int32_t>()[i] = h == Hide::counts ? target : kIgnoredTarget;
  }
  return out;
}

// Of each row the tokens whose targets count.
std::vector<std::vector<int64_t>> counted(const BatchRows& rows) {
  std::vector<std::vector<int64_t>> all(static_cast<size_t>(rows.inputs.dim(0)));
  const int64_t tokens = rows.inputs.dim(1);
  for (int64_t i = 0; !rows.inputs.is_meta() && i < rows.inputs.numel(); ++i)
    if (rows.targets.data<int32_t>()[i] != kIgnoredTarget) all[static_cast<size_t>(i / tokens)].push_back(i % tokens);
  return all;
}

// How many of L tokens draw k of K masks of row `row`: uniform in 1 .. L, and evenly spread over rows and draws.
int64_t how_many(int64_t tokens, int64_t row, int64_t k, const Scoring& how) {
  const double at = RandomStream(how.seed, "masked_diffusion.how_many").uniform(0) +
                    static_cast<double>(row) / std::numbers::phi +
                    static_cast<double>(k) / static_cast<double>(how.samples);
  return 1 + std::min(tokens - 1, static_cast<int64_t>((at - std::floor(at)) * static_cast<double>(tokens)));
}

class MaskedDiffusion final : public Objective {
 public:
  using Options = MaskedDiffusionOptions;
  explicit MaskedDiffusion(const Options& o) : eps_(o.eps) {}
  bool causal() const override { return false; }
  bool bound() const override { return true; }
  int64_t extra_ids() const override { return 1; }
  int64_t lookahead() const override { return 0; }
  void cut(const Stretch& s, Batch& batch) const override { cut_ahead(s, 0, batch); }

  // Noise is a function of seed, step and sample; times are spread evenly over the batch, row i of B has one in
  // [i / B, (i + 1) / B).
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    require(!state, "masked_diffusion: a row is seen as a whole, and goes on from no state");
    const int64_t count = rows.inputs.dim(0), tokens = rows.inputs.dim(1);
    const auto step = static_cast<uint64_t>(cx.step);
    std::vector<double> rates;
    std::vector<RandomStream> noise;
    const Tensor weights = Tensor::dense({count, tokens}, DType::f64);
    for (int64_t b = 0; b < count; ++b) {
      const auto sample = static_cast<uint64_t>(cx.samples[b]);
      const double u = RandomStream(cx.seed, "masked_diffusion.time", step, sample).uniform(0);
      const double t = (static_cast<double>(rows.first + b) + u) / static_cast<double>(rows.of ? rows.of : count);
      rates.push_back(eps_ + (1 - eps_) * t);
      noise.emplace_back(cx.seed, "masked_diffusion.mask", step, sample);
      if (!weights.is_meta()) std::fill_n(weights.data<double>() + b * tokens, tokens, 1 / rates.back());
    }
    const BatchRows seen = masked(model, rows, [&](int64_t b, int64_t t) {
      const auto row = static_cast<size_t>(b);
      return noise[row].uniform(static_cast<uint64_t>(t)) < rates[row] ? Hide::counts : Hide::no;
    });
    const Tensor x = model.body(seen.inputs, with_documents(cx, rows), nullptr);
    return model.head_loss(x, seen.targets, weight, 0, weights).loss;
  }

  std::vector<RowScore> score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const override {
    require(!how.state, "masked_diffusion: a row is seen as a whole, and goes on from no state");
    return how.left_to_right ? one_order(model, rows) : all_orders(model, rows, how);
  }

 private:
  // The mean over draws, and the variance of it as if they were independent: evenly spread ones have less.
  static std::vector<RowScore> all_orders(const LanguageModel& model, const BatchRows& rows, const Scoring& how) {
    const auto places = counted(rows);
    std::vector<RowScore> all(places.size());
    for (int64_t k = 0; k < (rows.inputs.is_meta() ? 1 : how.samples); ++k) {
      std::vector<std::vector<bool>> hidden;
      std::vector<double> factor;
      for (size_t b = 0; b < places.size(); ++b) {
        std::vector<int64_t> order = places[b];
        const auto length = static_cast<int64_t>(order.size()), row = how.first + static_cast<int64_t>(b);
        const RandomStream numbers(how.seed, "masked_diffusion.which", static_cast<uint64_t>(row),
                                   static_cast<uint64_t>(k));
        const int64_t n = length ? how_many(length, row, k, how) : 0;
        hidden.emplace_back(static_cast<size_t>(rows.inputs.dim(1)));
        for (int64_t i = 0; i < n; ++i) {
          const auto at = static_cast<uint64_t>(i);
          std::swap(order[at], order[at + numbers.below(at, static_cast<uint64_t>(length - i))]);
          hidden.back()[static_cast<size_t>(order[at])] = true;
        }
        factor.push_back(n ? static_cast<double>(length) / static_cast<double>(n) : 0);
      }
      const auto hide = [&](int64_t b, int64_t t) {
        return hidden[static_cast<size_t>(b)][static_cast<size_t>(t)] ? Hide::counts : Hide::no;
      };
      const std::vector<double> nats = row_nats(model, masked(model, rows, hide), nullptr);
      for (size_t b = 0; b < all.size(); ++b) {  // Welford's sums
        const double before = factor[b] * nats[b] - all[b].nats;
        all[b].nats += before / static_cast<double>(k + 1);
        all[b].variance += before * (factor[b] * nats[b] - all[b].nats);
      }
    }
    const auto n = static_cast<double>(how.samples);
    for (RowScore& s : all) s.variance /= n * (n - 1);
    return all;
  }

  // Each token after those before it, with all others masked: the likelihood of that order.
  static std::vector<RowScore> one_order(const LanguageModel& model, const BatchRows& rows) {
    const auto places = counted(rows);
    size_t longest = 1;
    for (const auto& p : places) longest = std::max(longest, p.size());
    std::vector<RowScore> all(places.size());
    for (size_t known = 0; known < longest; ++known) {
      const BatchRows seen = masked(model, rows, [&](int64_t b, int64_t t) {
        const auto& p = places[static_cast<size_t>(b)];
        if (known >= p.size() || t < p[known]) return Hide::no;
        return t == p[known] ? Hide::counts : Hide::only;
      });
      const std::vector<double> nats = row_nats(model, seen, nullptr);
      for (size_t b = 0; b < all.size(); ++b) all[b].nats += nats[b];
    }
    return all;
  }

  const double eps_;
};

}  // namespace

extern constinit const ObjectiveInfo masked_diffusion = ObjectiveInfo::of<MaskedDiffusion>({
    .name = "masked_diffusion",
    .title = "masked tokens from all that are seen, any part of them masked (diffusion)",
    .paper = "Sahoo et al. 2024, arXiv:2406.07524; Nie et al. 2025, arXiv:2502.09992",
    .source = "kuleshov-group/mdlm@c112c52, diffusion.py (times, loss); ML-GSAI/LLaDA@b7e6c35, GUIDELINES.md (eps), "
              "get_log_likelihood.py (the bound)",
    .deviations =
        "eps is 0, where both codes train with 1e-3, since without it the loss is a bound in the mean; MDLM's code "
        "also leaves a thousandth of the tokens seen at t = 1, and LLaDA's cuts a hundredth of its batches to a random "
        "length; the model is any of effllm's, where MDLM's is a DiT; numbers of masked tokens are spread over rows "
        "and draws by the golden ratio, where LLaDA's code spreads the draws of one row, rounded",
});

}  // namespace effllm::objectives

// Diffusion with random tokens for noise: against a transcription of its authors' losses, and its bound against the
// likelihood of the process that its sampler runs.
#include <cmath>

#include "decode/from_noise.h"
#include "eval/evaluator.h"
#include "objectives/corruption.h"
#include "objectives/objective_checks.h"
#include "ops/corruption_loss.h"

using namespace effllm;
using namespace effllm::test;

namespace {

std::unique_ptr<Objective> objective(double p_uniform) {
  return read_objective("{type: uniform_diffusion, p_uniform: " + std::to_string(p_uniform) + "}");
}

// Of rows that became `seen` at times u: keep, noise and w dt/du of each token.
Tensor terms_of(const Tensor& ids, const Tensor& seen, const std::vector<double>& times,
                const std::vector<double>& factors, double p_uniform, int64_t vocab) {
  const Tensor terms = Tensor::dense({ids.numel(), 3}, DType::f64);
  for (int64_t i = 0; i < ids.numel(); ++i) {
    const auto row = static_cast<size_t>(i / ids.dim(1));
    const auto of =
        CorruptionSchedule(p_uniform).at(times[row]).terms(ids.data<int32_t>()[i], seen.data<int32_t>()[i], vocab);
    for (size_t k = 0; k < 3; ++k)
      terms.data<double>()[3 * i + static_cast<int64_t>(k)] = of[k] * (k == 2 ? factors[row] : 1);
  }
  return terms;
}

// Two tokens, each one of `vocab` or MASK: all states of the process, and what the model predicts in each.
class Pairs {
 public:
  Pairs(const LanguageModel& model, double p_uniform)
      : p_uniform_(p_uniform), vocab_(model.vocab()), ids_(model.vocab() + (p_uniform < 1 ? 1 : 0)) {
    for (int64_t z = 0; z < ids_ * ids_; ++z) {
      const Tensor logits = model.logits(ids_of(text_of(z, 2, ids_), 1), {});
      logits_.push_back(logits.clone());
      for (int64_t i = 0; i < 2; ++i) {
        std::vector<double> p;
        for (int32_t q = 0; q < vocab_; ++q)
          p.push_back(std::exp(-nats_by(logits.row_range(i, {1, vocab_}), ids_of({q}, 1))[0]));
        predicted_.push_back(p);
      }
    }
  }
  // Of each text the probability that so many steps of the sampler, which draws tokens apart, end with it.
  std::vector<double> likelihoods(int64_t steps) const {
    std::vector<double> p(static_cast<size_t>(ids_ * ids_));
    if (p_uniform_ < 1)
      p.back() = 1;
    else
      std::ranges::fill(p, 1.0 / static_cast<double>(p.size()));
    for (int64_t step = 0; step < steps; ++step) {
      const double t = static_cast<double>(steps - step) / static_cast<double>(steps),
                   s = static_cast<double>(steps - step - 1) / static_cast<double>(steps);
      std::vector<double> next(p.size());
      for (size_t z = 0; z < p.size(); ++z) {
        if (p[z] == 0) continue;  // nowhere to come from
        std::vector<double> from[2];
        for (size_t i = 0; i < 2; ++i) {
          const auto id = static_cast<int32_t>(text_of(static_cast<int64_t>(z), 2, ids_)[i]);
          from[i] = earlier(predicted_[2 * z + i], id, p_uniform_, t, s);
          double sum = 0;
          for (const double w : from[i]) sum += w;
          for (double& w : from[i]) w /= sum;
        }
        for (size_t y = 0; y < p.size(); ++y) {
          const Ids to = text_of(static_cast<int64_t>(y), 2, ids_);
          next[y] += p[z] * from[0][static_cast<size_t>(to[0])] * from[1][static_cast<size_t>(to[1])];
        }
      }
      p = next;
    }
    return p;
  }
  // The integral of a text's loss over times, by the midpoints of u.
  double bound(const Ids& text) const {
    const CorruptionSchedule schedule(p_uniform_);
    double sum = 0;
    constexpr int kPoints = 4000;
    for (int k = 0; k < kPoints; ++k) {
      const auto time = schedule.time((k + 0.5) / kPoints);
      const Corruption at = schedule.at(time.t);
      for (int64_t z = 0; z < ids_ * ids_; ++z) {
        const Ids seen = text_of(z, 2, ids_);
        double q = 1;
        for (size_t i = 0; i < 2; ++i)
          q *= seen[i] == vocab_ ? at.mask
                                 : at.random / static_cast<double>(vocab_) + (seen[i] == text[i] ? at.keep : 0);
        const Tensor ids = ids_of(text, 1), there = ids_of(seen, 1);
        const Tensor loss = corruption_loss(logits_[static_cast<size_t>(z)], ids, there,
                                            terms_of(ids, there, {time.t}, {time.slope}, p_uniform_, vocab_));
        sum += q * *loss.data<double>() / kPoints;
      }
    }
    return sum;
  }
  int64_t ids() const { return ids_; }

 private:
  double p_uniform_;
  int64_t vocab_, ids_;
  std::vector<Tensor> logits_;
  std::vector<std::vector<double>> predicted_;
};

RowScore score(const Objective& o, const LanguageModel& model, const Ids& text, Scoring how) {
  const Tensor ids = ids_of(text, 1);
  return o.score(model, {ids, ids, {}}, how)[0];
}

}  // namespace

TEST_CASE("uniform_diffusion: noise and losses are those of the transcription") {
  CHECK(golden_files("uniform_diffusion", [](const SafetensorsFile& file) {
          const auto o = read_objective(file.metadata().at("options"));
          const auto model = build_model_for(*o, kMixing, 7);
          const double p_uniform = *o->uniform();
          const Tensor ids = ids_of(stored<int32_t>(file, "text"), 3), seen = ids_of(stored<int32_t>(file, "seen"), 3);
          const auto times = stored<double>(file, "times"), factors = stored<double>(file, "factors");
          const auto losses = stored<double>(file, "losses"), numbers = stored<double>(file, "logits");
          const Tensor terms = terms_of(ids, seen, times, factors, p_uniform, 7),
                       logits = Tensor::dense({ids.numel(), 7}, DType::f64);
          std::ranges::copy(numbers, logits.data<double>());
          for (int64_t i = 0; i < ids.numel(); ++i) {
            const auto one = [&](const Tensor& t) { return ids_of({t.data<int32_t>()[i]}, 1); };
            CHECK(*corruption_loss(logits.row_range(i, {1, 7}), one(ids), one(seen), terms.row_range(i, {1, 3}))
                       .data<double>() == doctest::Approx(losses[static_cast<size_t>(i)]).epsilon(1e-9));
          }
          const Context cx = context_in(file);
          CHECK(at(o->loss(*model, rows_in(file, ids), 0.5, cx, nullptr), 0, 0) ==
                doctest::Approx(0.5 * *corruption_loss(model->logits(seen, {}), ids, seen, terms).data<double>())
                    .epsilon(1e-12));

          const auto draws = stored<int32_t>(file, "draws");
          const auto draw_times = stored<double>(file, "draw_times"),
                     draw_factors = stored<double>(file, "draw_factors");
          const int64_t known = number_in(file, "known"), tokens = ids.dim(1);
          const Tensor targets = ids.clone();
          for (int64_t i = 0; i < ids.numel(); ++i)
            if (i % tokens < known) targets.data<int32_t>()[i] = kIgnoredTarget;
          const auto count = static_cast<int64_t>(draws.size()) / ids.numel();
          std::vector<double> expected(3);
          for (int64_t k = 0; k < count; ++k) {
            const auto from = draws.begin() + k * ids.numel();
            const Tensor z = ids_of({from, from + ids.numel()}, 3);
            const auto part = [&](const std::vector<double>& of) {
              return std::vector<double>(of.begin() + 3 * k, of.begin() + 3 * k + 3);
            };
            const Tensor of = terms_of(ids, z, part(draw_times), part(draw_factors), p_uniform, 7),
                         seen_logits = model->logits(z, {});
            for (int64_t b = 0; b < 3; ++b)
              expected[static_cast<size_t>(b)] +=
                  *corruption_loss(seen_logits.row_range(b * tokens, {tokens, 7}), targets.row_range(b, {tokens}),
                                   z.row_range(b, {tokens}), of.row_range(b * tokens, {tokens, 3}))
                       .data<double>() /
                  static_cast<double>(count);
          }
          const auto found = o->score(*model, {ids, targets, {}},
                                      {.first = number_in(file, "row"), .samples = count, .seed = cx.seed});
          for (size_t b = 0; b < 3; ++b) CHECK(found[b].nats == doctest::Approx(expected[b]).epsilon(1e-11));
        }) == 4);
}

TEST_CASE(
    "uniform_diffusion: p_uniform is the share of all tokens that are random half of the way, where it is largest") {
  for (const double p_uniform : {0.01, 0.2, 0.5, 0.9}) {
    const auto random = [&](double t) { return CorruptionSchedule(p_uniform).at(t).random; };
    CHECK(random(0.5) == doctest::Approx(p_uniform).epsilon(1e-12));
    CHECK(random(0.45) < random(0.5));
    CHECK(random(0.55) < random(0.5));
    CHECK(random(1) == 0);
  }
}

TEST_CASE("uniform_diffusion: the bound is above -log p of every text, whose p sum to 1, and what is estimated is it") {
  const Threads one(1);
  for (const double p_uniform : {1.0, 0.3}) {
    CAPTURE(p_uniform);
    const auto o = objective(p_uniform);
    const auto model = build_model_for(*o, kMixing, 2);
    const Pairs pairs(*model, p_uniform);
    const auto p = pairs.likelihoods(3000);
    double total = 0, least = 1, estimate = 0, bound = 0, variance = 0;
    for (int64_t number = 0; number < 4; ++number) {
      const Ids text = text_of(number, 2, 2);
      const double likelihood = p[static_cast<size_t>(text[0] + text[1] * pairs.ids())], own = pairs.bound(text);
      total += likelihood;
      least = std::min(least, own + std::log(likelihood));
      const RowScore r = score(*o, *model, text, {.first = number, .samples = 4000, .seed = 9});
      bound += own, estimate += r.nats, variance += r.variance;
    }
    CHECK(total == doctest::Approx(1).epsilon(1e-9));
    CHECK(least > 1e-3);
    CHECK(std::abs(estimate - bound) < 3 * std::sqrt(variance));
    CHECK(std::sqrt(variance) < 0.03 * bound);
  }
}

TEST_CASE("uniform_diffusion: where the model predicts one distribution always, the bound is its likelihood") {
  const Threads one(1);
  for (const double p_uniform : {1.0, 0.3}) {
    CAPTURE(p_uniform);
    const auto o = objective(p_uniform);
    const auto model = build_model_for(*o, kMixing, 3);
    for (const Parameter* p : model->params().sorted())
      if (p->name.starts_with("embedding"))
        for (int64_t r = 0; r < p->shape.rows(); ++r)
          for (int64_t c = 0; c < 8; ++c) put(p->value, r, c, c % 3 - 0.7);  // all tokens look alike
    const Ids text = {2, 0};
    const Tensor ids = ids_of(text, 1);
    const auto nats = nats_by(model->logits(ids, {}), ids);
    CHECK(Pairs(*model, p_uniform).bound(text) == doctest::Approx(nats[0] + nats[1]).epsilon(2e-4));
    const RowScore r = score(*o, *model, text, {.samples = 20000});
    CHECK(std::abs(r.nats - nats[0] - nats[1]) < 3 * std::sqrt(r.variance));
    CHECK(std::isnan(score(*o, *model, text, {}).variance));
    // At any number of steps its samples have that distribution.
    const auto likelihoods = Pairs(*model, p_uniform).likelihoods(3);
    const int64_t n = 3 + (p_uniform < 1 ? 1 : 0);
    CHECK(likelihoods[static_cast<size_t>(2 + 0 * n)] == doctest::Approx(std::exp(-nats[0] - nats[1])).epsilon(1e-12));
  }
}

TEST_CASE("uniform_diffusion: gradients by differences, noise by the sample, and a batch is learnt") {
  const Threads one(1);
  for (const double p_uniform : {1.0, 0.3}) {
    const auto o = objective(p_uniform);
    const auto model = build_model_for(*o, kMixing, 5);
    const Tensor ids = random_ids(3, 7, 5, 1);
    Context cx;
    cx.phase = Phase::train;
    const double extra = check_gradient(*model, [&] { return o->loss(*model, {ids, ids, {}}, 1.0 / 21, cx, nullptr); });
    CHECK((extra > 1e-3) == (p_uniform < 1));
    check_noise(*o, *model, 5);
    check_learns(*o);
  }
}

// Multi-query associative recall: pairs of a key and its value stand first, then each key comes once more, after a gap,
// and its value is to be told there.
//
//   k3 v7 k5 v2 _ _ k5 _ _ _ k3 _        scored: v2 at the second k5, v7 at the second k3
//
// Keys of a sample differ, and so do its values. A query stands at one of the (length - 2 pairs) / 2 even places after
// the pairs; place j = 1, 2 .. is taken with a weight of j^(power_a - 1).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

constexpr int64_t kWeightBits = 32;

struct MqarOptions final : TaskOptions {
  std::vector<int64_t> pairs = {4};
  int64_t length = 64, vocab = 8192;
  double power_a = 0.01;
  std::string filler = "blank";
  void visit(OptionVisitor& v) override {
    v("pairs", pairs, "Sets how many pairs of key and value a sample has: one of these numbers, drawn for each.");
    v("length", length, "Sets the tokens of a sample.", between(4, kMostTokens));
    v("vocab", vocab, "Sets the size of the vocabulary: one half the blank and keys, the other values.",
      between(4, 1 << 20));
    v("power_a", power_a, "Sets the power of gaps: weights go with gap^(power_a - 1).", between(0, 1));
    v("filler", filler,
      "Chooses what stands between queries: the blank, or random keys and values that the sample does not have.",
      {"blank", "random"});
    TaskOptions::visit(v);
  }
};

class Mqar final : public Task {
 public:
  using Options = MqarOptions;
  Mqar(const Options& o, uint64_t) : o_(o), most_(o.pairs.empty() ? 0 : std::ranges::max(o.pairs)) {
    if (o.pairs.empty() || std::ranges::min(o.pairs) < 1)
      throw_at(o.mark, "data.pairs: list at least one number of pairs, each at least 1");
    if (4 * most_ > o.length)
      throw_at(o.mark, fmt::format("data.length {} has no room for {} pairs and as many queries; give at least {}",
                                   o.length, most_, 4 * most_));
    // Of keys, which are one less, and a filler that is none of the sample's.
    if (o.vocab / 2 - 1 < most_ || (o.filler == "random" && o.vocab - 1 <= 2 * most_))
      throw_at(o.mark, fmt::format("data.vocab {} has too few keys for {} pairs; give at least {}", o.vocab, most_,
                                   2 * most_ + 2));
    for (int64_t j = 1; j <= o.length / 2; ++j)
      weights_.push_back(
          std::max<int64_t>(1, std::llround(std::ldexp(std::pow(static_cast<double>(j), o.power_a - 1), kWeightBits))));
  }
  int64_t vocab() const override { return o_.vocab; }
  std::string symbol(int32_t id) const override {
    const auto values = static_cast<int32_t>(o_.vocab / 2);
    return id == 0 ? "_" : id < values ? fmt::format("k{}", id) : fmt::format("v{}", id - values);
  }
  int64_t longest() const override { return o_.length; }

  Sample sample(Draws& draws) const override {
    const int64_t pairs = draws.one_of(o_.pairs), values_from = o_.vocab / 2;
    std::vector<int64_t> keys = draws.distinct(pairs, values_from - 1),
                         values = draws.distinct(pairs, o_.vocab - values_from);
    Sample s = unscored(std::vector<int32_t>(static_cast<size_t>(o_.length)));
    s.difficulty = pairs;
    std::vector<int64_t> weights(weights_.begin(), weights_.begin() + (o_.length - 2 * pairs) / 2);
    for (int64_t i = 0; i < pairs; ++i) {
      const auto place = static_cast<size_t>(2 * i), at = static_cast<size_t>(i);
      const auto key = static_cast<int32_t>(1 + keys[at]), value = static_cast<int32_t>(values_from + values[at]);
      s.tokens[place] = key;
      s.tokens[place + 1] = value;
      const size_t gap = draws.weighted(weights, std::accumulate(weights.begin(), weights.end(), int64_t{0}));
      weights[gap] = 0;
      const size_t query = static_cast<size_t>(2 * pairs) + 2 * gap;
      s.tokens[query] = key;
      s.targets[query] = value;
    }
    if (o_.filler == "random") fill(s, static_cast<size_t>(2 * pairs), draws);
    return s;
  }

 private:
  // Blanks become tokens that are not among the first `own`, which are the sample's keys and values.
  void fill(Sample& s, size_t own, Draws& draws) const {
    std::vector<int32_t> taken(s.tokens.begin(), s.tokens.begin() + static_cast<int64_t>(own));
    std::ranges::sort(taken);
    for (int32_t& id : s.tokens)
      while (id == 0) {
        const auto drawn = static_cast<int32_t>(1 + draws.below(o_.vocab - 1));
        if (!std::ranges::binary_search(taken, drawn)) id = drawn;
      }
  }

  Options o_;
  int64_t most_;
  std::vector<int64_t> weights_;  // of places 1, 2 ..
};

}  // namespace

extern constinit const TaskInfo mqar = TaskInfo::of<Mqar>({
    .name = "mqar",
    .title = "multi-query associative recall: the value of each key, at its second place",
    .paper = "Arora et al. 2023, arXiv:2312.04927",
    .source = "HazyResearch/zoology@d88d6f5, zoology/data/multiquery_ar.py",
    .deviations =
        "filler is the blank, as in the authors' settings, where the code's default is random; random leaves the blank "
        "and the sample's own keys and values out, where the code draws from all, so that a key may come again "
        "unscored, before another value; power_a weighs as the code does, and gaps count from the end of the pairs, "
        "not from the key; pairs are shown once (no num_passes); one file may mix numbers of pairs, each sample "
        "of one of them, where the code has a set for each",
    .difficulty = "pairs",
});

}  // namespace effllm::tasks

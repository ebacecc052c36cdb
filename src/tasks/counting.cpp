// How often each token has come so far, itself counted.
//
//   b a b b        scored: 1 1 2 3
#include <fmt/format.h>

#include <algorithm>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct CountingOptions final : TaskOptions {
  int64_t symbols = 16, most = 8, length = 40, min_length = 8;
  void visit(OptionVisitor& v) override {
    v("symbols", symbols, "Sets how many symbols there are.", between(1, 1 << 20));
    v("most", most, "Sets the largest count that has an answer of its own; more are told as it.", between(2, 1 << 20));
    v("length", length, "Sets the symbols of the longest samples.", between(1, kMostTokens));
    v("min_length", min_length, "Sets the same of the shortest; each number between is as likely.",
      between(1, kMostTokens));
    TaskOptions::visit(v);
  }
};

class Counting final : public Task {
 public:
  using Options = CountingOptions;
  Counting(const Options& o, uint64_t) : o_(o) {
    if (o.min_length > o.length)
      throw_at(o.mark, fmt::format("data.min_length {} is above data.length {}", o.min_length, o.length));
  }
  int64_t vocab() const override { return o_.symbols + o_.most; }
  std::string symbol(int32_t id) const override {
    return id < o_.symbols ? fmt::format("s{}", id) : fmt::format("{}", id - o_.symbols + 1);
  }
  int64_t longest() const override { return o_.length; }
  Sample sample(Draws& draws) const override {
    Sample s = unscored(std::vector<int32_t>(static_cast<size_t>(draws.between(o_.min_length, o_.length))));
    std::vector<int64_t> counts(static_cast<size_t>(o_.symbols));
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      s.tokens[i] = static_cast<int32_t>(draws.below(o_.symbols));
      const int64_t count = ++counts[static_cast<size_t>(s.tokens[i])];
      s.targets[i] = static_cast<int32_t>(o_.symbols + std::min(count, o_.most) - 1);
    }
    return s;
  }

 private:
  Options o_;
};

}  // namespace

extern constinit const TaskInfo counting = TaskInfo::of<Counting>({
    .name = "counting",
    .title = "how often each token has come so far",
    .paper = "Weiss et al. 2021, arXiv:2106.06981 (its histograms, from left to right)",
    .source = "none: written from the paper",
    .deviations = "counts are of the tokens so far, not of the whole sample, and end at `most`",
});

}  // namespace effllm::tasks

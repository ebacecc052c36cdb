// Whether more ones than zeros have come.
//
//   1 0 0 1 1        scored: 1 0 0 0 1, or the last alone
#include <fmt/format.h>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct MajorityOptions final : TaskOptions {
  int64_t length = 40, min_length = 3;
  std::string scored = "every";
  void visit(OptionVisitor& v) override {
    v("length", length, "Sets the bits of the longest samples.", between(1, kMostTokens));
    v("min_length", min_length, "Sets the bits of the shortest; each number from here to length is as likely.",
      between(1, kMostTokens));
    v("scored", scored, "Chooses which places are scored: the last bit's, or every bit's.", {"last", "every"});
    TaskOptions::visit(v);
  }
};

class Majority final : public Task {
 public:
  using Options = MajorityOptions;
  Majority(const Options& o, uint64_t) : o_(o) {
    if (o.min_length > o.length)
      throw_at(o.mark, fmt::format("data.min_length {} is above data.length {}", o.min_length, o.length));
  }
  int64_t vocab() const override { return 2; }
  std::string symbol(int32_t id) const override { return fmt::format("{}", id); }
  int64_t longest() const override { return o_.length; }
  Sample sample(Draws& draws) const override {
    std::vector<int32_t> bits(static_cast<size_t>(draws.between(o_.min_length, o_.length)));
    for (int32_t& b : bits) b = draws.coin();
    Sample s = unscored(std::move(bits));
    int64_t ahead = 0;  // ones less zeros
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      ahead += s.tokens[i] ? 1 : -1;
      if (o_.scored == "every" || i + 1 == s.tokens.size()) s.targets[i] = ahead > 0;
    }
    return s;
  }

 private:
  Options o_;
};

}  // namespace

extern constinit const TaskInfo majority = TaskInfo::of<Majority>({
    .name = "majority",
    .title = "whether more ones than zeros have come",
    .paper = "Merrill et al. 2022, arXiv:2106.16213; Beck et al. 2024, arXiv:2405.04517",
    .source = "none: written from the papers",
    .deviations = "two symbols, a tie counts as 0, and the answer is told at the bit itself",
});

}  // namespace effllm::tasks

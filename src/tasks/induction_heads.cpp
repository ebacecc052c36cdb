// One sign stands somewhere among random symbols, and once more at the end: what followed it is to be told.
//
//   4 s 7 1 2 s        scored: 7, at the end
#include <fmt/format.h>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct InductionHeadsOptions final : TaskOptions {
  int64_t vocab = 16, length = 256;
  void visit(OptionVisitor& v) override {
    v("vocab", vocab, "Sets the size of the vocabulary, the last of which is the sign.", between(2, 1 << 20));
    v("length", length, "Sets the tokens of a sample.", between(3, kMostTokens));
    TaskOptions::visit(v);
  }
};

class InductionHeads final : public Task {
 public:
  using Options = InductionHeadsOptions;
  InductionHeads(const Options& o, uint64_t) : o_(o) {}
  int64_t vocab() const override { return o_.vocab; }
  std::string symbol(int32_t id) const override { return id == o_.vocab - 1 ? "s" : fmt::format("{}", id); }
  int64_t longest() const override { return o_.length; }
  Sample sample(Draws& draws) const override {
    std::vector<int32_t> tokens(static_cast<size_t>(o_.length));
    for (int32_t& id : tokens) id = static_cast<int32_t>(draws.below(o_.vocab - 1));
    const auto at = static_cast<size_t>(draws.below(o_.length - 2));
    tokens[at] = tokens.back() = static_cast<int32_t>(o_.vocab - 1);
    Sample s = unscored(std::move(tokens));
    s.targets.back() = s.tokens[at + 1];
    return s;
  }

 private:
  Options o_;
};

}  // namespace

extern constinit const TaskInfo induction_heads = TaskInfo::of<InductionHeads>({
    .name = "induction_heads",
    .title = "what followed a sign that stood once before",
    .paper = "Olsson et al. 2022, arXiv:2209.11895; Gu and Dao 2023, arXiv:2312.00752",
    .source = "none: written from the papers",
    .deviations = "only the last place is scored; the sign is one of vocab",
    .continues = true,
});

}  // namespace effllm::tasks

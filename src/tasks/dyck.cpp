// Brackets of several kinds: after each token, which bracket would close the innermost that is open.
//
//   (1 (2 )2 )1 (1        scored: )1 )2 )1 . )1
#include <fmt/format.h>

#include <algorithm>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct DyckOptions final : TaskOptions {
  int64_t kinds = 2, depth = 8, length = 64, min_length = 8;
  void visit(OptionVisitor& v) override {
    v("kinds", kinds, "Sets how many kinds of brackets there are.", between(1, 1 << 10));
    v("depth", depth, "Sets how many may be open at once.", between(1, 1 << 20));
    v("length", length, "Sets the tokens of the longest samples.", between(1, kMostTokens));
    v("min_length", min_length, "Sets the same of the shortest; each number between is as likely.",
      between(1, kMostTokens));
    TaskOptions::visit(v);
  }
};

class Dyck final : public Task {
 public:
  using Options = DyckOptions;
  Dyck(const Options& o, uint64_t) : o_(o) {
    if (o.min_length > o.length)
      throw_at(o.mark, fmt::format("data.min_length {} is above data.length {}", o.min_length, o.length));
  }
  int64_t vocab() const override { return 2 * o_.kinds + 1; }
  std::string symbol(int32_t id) const override {
    return id == 2 * o_.kinds ? "."
           : id < o_.kinds    ? fmt::format("({}", id + 1)
                              : fmt::format("){}", id - o_.kinds + 1);
  }
  int64_t longest() const override { return o_.length; }
  // Where a bracket may both open and close, it does either as likely.
  Sample sample(Draws& draws) const override {
    const auto n = static_cast<size_t>(draws.between(o_.min_length, o_.length));
    Sample s;
    std::vector<int32_t> open;
    while (s.tokens.size() < n) {
      const bool opens = open.empty() || (static_cast<int64_t>(open.size()) < o_.depth && draws.coin());
      if (opens) {
        open.push_back(static_cast<int32_t>(draws.below(o_.kinds)));
        s.tokens.push_back(open.back());
      } else {
        s.tokens.push_back(closes(open.back()));
        open.pop_back();
      }
      s.targets.push_back(open.empty() ? static_cast<int32_t>(2 * o_.kinds) : closes(open.back()));
      s.difficulty = std::max(s.difficulty, static_cast<int64_t>(open.size()));
    }
    return s;
  }

 private:
  int32_t closes(int32_t kind) const { return static_cast<int32_t>(o_.kinds) + kind; }
  Options o_;
};

}  // namespace

extern constinit const TaskInfo dyck = TaskInfo::of<Dyck>({
    .name = "dyck",
    .title = "which bracket closes the innermost that is open",
    .paper = "Hewitt et al. 2020, arXiv:2010.07515; Deletang et al. 2022, arXiv:2207.02098",
    .source = "none: written from the papers",
    .deviations = "the papers predict the next bracket, of which several may be right; here each place has one answer; "
                  "samples may end with brackets open",
    .difficulty = "brackets open at once",
});

}  // namespace effllm::tasks

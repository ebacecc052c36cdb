// A text of random symbols, and then the same once more.
//
//   a c b > a c        scored: a c b, from the > on
#include <fmt/format.h>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct CopyingOptions final : TaskOptions {
  int64_t vocab = 16, length = 20, min_length = 1;
  void visit(OptionVisitor& v) override {
    v("vocab", vocab, "Sets the size of the vocabulary, the last of which is the sign to copy.", between(2, 1 << 20));
    v("length", length, "Sets how many symbols are copied, at most.", between(1, kMostTokens / 2));
    v("min_length", min_length, "Sets how many at least; each number from here to length is as likely.",
      between(1, kMostTokens / 2));
    TaskOptions::visit(v);
  }
};

class Copying final : public Task {
 public:
  using Options = CopyingOptions;
  Copying(const Options& o, uint64_t) : o_(o) {
    if (o.min_length > o.length)
      throw_at(o.mark, fmt::format("data.min_length {} is above data.length {}", o.min_length, o.length));
  }
  int64_t vocab() const override { return o_.vocab; }
  std::string symbol(int32_t id) const override { return id == o_.vocab - 1 ? ">" : fmt::format("{}", id); }
  int64_t longest() const override { return 2 * o_.length; }
  Sample sample(Draws& draws) const override {
    const auto n = static_cast<size_t>(draws.between(o_.min_length, o_.length));
    std::vector<int32_t> tokens(2 * n);
    for (size_t i = 0; i < n; ++i) tokens[i] = static_cast<int32_t>(draws.below(o_.vocab - 1));
    tokens[n] = static_cast<int32_t>(o_.vocab - 1);
    for (size_t i = 0; i + 1 < n; ++i) tokens[n + 1 + i] = tokens[i];
    Sample s = unscored(std::move(tokens));
    for (size_t i = 0; i < n; ++i) s.targets[n + i] = s.tokens[i];
    return s;
  }

 private:
  Options o_;
};

}  // namespace

extern constinit const TaskInfo copying = TaskInfo::of<Copying>({
    .name = "copying",
    .title = "a text of random symbols once more",
    .paper = "Jelassi et al. 2024, arXiv:2402.01032",
    .source = "none: written from the paper",
    .deviations =
        "symbols are numbers, and no token ends the copy; the copy is fed back, as in the paper (blanks in its "
        "place: selective_copying)",
    .continues = true,
});

}  // namespace effllm::tasks

// MAD's compression, for a model that reads from left to right: random symbols, then each is asked for by its place, in
// random order.
//
//   3 0 2 p1 p0 p2        scored: 0 3 2
#include <fmt/format.h>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct CompressionOptions final : TaskOptions {
  int64_t symbols = 16, length = 32;
  void visit(OptionVisitor& v) override {
    v("symbols", symbols, "Sets how many symbols there are.", between(2, 1 << 20));
    v("length", length, "Sets how many are to be remembered; the vocabulary has a token for each place.",
      between(1, 1 << 20));
    TaskOptions::visit(v);
  }
};

class Compression final : public Task {
 public:
  using Options = CompressionOptions;
  Compression(const Options& o, uint64_t) : o_(o) {}
  int64_t vocab() const override { return o_.symbols + o_.length; }
  std::string symbol(int32_t id) const override {
    return id < o_.symbols ? fmt::format("{}", id) : fmt::format("p{}", id - o_.symbols);
  }
  int64_t longest() const override { return 2 * o_.length; }
  Sample sample(Draws& draws) const override {
    const auto n = static_cast<size_t>(o_.length);
    Sample s = unscored(std::vector<int32_t>(2 * n));
    for (size_t i = 0; i < n; ++i) s.tokens[i] = static_cast<int32_t>(draws.below(o_.symbols));
    const std::vector<int64_t> order = draws.distinct(o_.length, o_.length);
    for (size_t i = 0; i < n; ++i) {
      s.tokens[n + i] = static_cast<int32_t>(o_.symbols + order[i]);
      s.targets[n + i] = s.tokens[static_cast<size_t>(order[i])];
    }
    return s;
  }

 private:
  Options o_;
};

}  // namespace

extern constinit const TaskInfo compression = TaskInfo::of<Compression>({
    .name = "compression",
    .title = "MAD, without its decoder: each of many symbols by its place",
    .paper = "Poli et al. 2024, arXiv:2403.17844",
    .source = "athms/mad-lab@0f49a45, mad/data/instances.py, generate_compression_instance (the settings)",
    .deviations = "the authors' model ends in one vector, of which a decoder of its own makes the symbols; here the "
                  "model itself is "
                  "asked, place by place, so that recurrences must hold all in their state and attention may look "
                  "back: scores do "
                  "not compare with theirs",
    .length = "",
});

}  // namespace effllm::tasks

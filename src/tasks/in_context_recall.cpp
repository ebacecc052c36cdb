// MAD's in-context recall: pairs in a row; the value of each key that has come before is to be told.
//
//   k2 v1 k0 v3 k2 v1 k0        scored: v1 at the second k2, v3 at the second k0
#include <fmt/format.h>

#include "tasks/recall.h"

namespace effllm::tasks {
namespace {

struct InContextRecallOptions final : TaskOptions {
  int64_t vocab = 16, length = 128;
  void visit(OptionVisitor& v) override {
    v("vocab", vocab, "Sets the size of the vocabulary, half of it keys.", between(2, 1 << 20));
    v("length", length, "Sets the tokens of all pairs, an even number; the last value is left out.",
      between(4, kMostTokens));
    TaskOptions::visit(v);
  }
};

class InContextRecall final : public Task {
 public:
  using Options = InContextRecallOptions;
  InContextRecall(const Options& o, uint64_t)
      : recall_{.pairs = o.length / 2, .keys = o.vocab / 2, .values = o.vocab - o.vocab / 2} {
    if (o.length % 2) throw_at(o.mark, fmt::format("data.length {} is odd: pairs have two tokens", o.length));
  }
  int64_t vocab() const override { return recall_.keys + recall_.values; }
  std::string symbol(int32_t id) const override { return recall_.symbol(id); }
  int64_t longest() const override { return 2 * recall_.pairs - 1; }
  Sample sample(Draws& draws) const override { return recall_.sample(draws); }

 private:
  Recall recall_;
};

}  // namespace

extern constinit const TaskInfo in_context_recall = TaskInfo::of<InContextRecall>({
    .name = "in_context_recall",
    .title = "MAD: the values of keys that have come before",
    .paper = "Poli et al. 2024, arXiv:2403.17844",
    .source = "athms/mad-lab@0f49a45, mad/data/instances.py, generate_in_context_recall_instance",
    .deviations = "the form with several queries, as in the authors' settings; training minimises the loss of what is "
                  "scored, theirs that of every next token",
    .continues = true,
});

}  // namespace effllm::tasks

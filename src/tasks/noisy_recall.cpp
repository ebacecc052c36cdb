// MAD's noisy in-context recall: some pairs are two tokens of noise, which have an alphabet of their own.
//
//   k2 v1 n7 n4 k0 v3 k2        scored: v1 at the second k2
#include <fmt/format.h>

#include "tasks/recall.h"

namespace effllm::tasks {
namespace {

struct NoisyRecallOptions final : TaskOptions {
  int64_t vocab = 32, length = 128, noise_vocab = 16;
  double noise = 0.2;
  void visit(OptionVisitor& v) override {
    v("vocab", vocab, "Sets the size of the vocabulary: noise, and of the rest half keys.", between(3, 1 << 20));
    v("length", length, "Sets the tokens of all pairs, an even number; the last value is left out.",
      between(4, kMostTokens));
    v("noise_vocab", noise_vocab, "Sets how many of the vocabulary are noise.", between(1, 1 << 20));
    v("noise", noise, "Sets how likely a pair is noise.", between(0, 1));
    TaskOptions::visit(v);
  }
};

class NoisyRecall final : public Task {
 public:
  using Options = NoisyRecallOptions;
  NoisyRecall(const Options& o, uint64_t)
      : recall_{.pairs = o.length / 2,
                .keys = (o.vocab - o.noise_vocab) / 2,
                .values = o.vocab - o.noise_vocab - (o.vocab - o.noise_vocab) / 2,
                .noise = o.noise_vocab,
                .noise_share = o.noise} {
    if (o.length % 2) throw_at(o.mark, fmt::format("data.length {} is odd: pairs have two tokens", o.length));
    if (recall_.keys < 1)
      throw_at(o.mark,
               fmt::format("data.noise_vocab {} leaves no keys and values of data.vocab {}", o.noise_vocab, o.vocab));
  }
  int64_t vocab() const override { return recall_.keys + recall_.values + recall_.noise; }
  std::string symbol(int32_t id) const override { return recall_.symbol(id); }
  int64_t longest() const override { return 2 * recall_.pairs - 1; }
  Sample sample(Draws& draws) const override { return recall_.sample(draws); }

 private:
  Recall recall_;
};

}  // namespace

extern constinit const TaskInfo noisy_recall = TaskInfo::of<NoisyRecall>({
    .name = "noisy_recall",
    .title = "MAD: the values of keys that have come before, among noise",
    .paper = "Poli et al. 2024, arXiv:2403.17844",
    .source = "athms/mad-lab@0f49a45, mad/data/instances.py, generate_noisy_in_context_recall_instance",
    .deviations =
        "as in_context_recall; one pair that is no noise stands before the last, where the code lets it be the "
        "last",
    .continues = true,
});

}  // namespace effllm::tasks

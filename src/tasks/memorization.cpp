// MAD's memorization: keys whose values are the same in all samples, and stand in none: they must be learned.
//
//   k5 _ k0 _        scored: the value of each key, at the blank after it
#include <fmt/format.h>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

struct MemorizationOptions final : TaskOptions {
  int64_t vocab = 256, length = 32;
  void visit(OptionVisitor& v) override {
    v("vocab", vocab, "Sets the size of the vocabulary: the blank, and of the rest half keys.", between(3, 1 << 20));
    v("length", length, "Sets the tokens of a sample, an even number.", between(2, kMostTokens));
    TaskOptions::visit(v);
  }
};

class Memorization final : public Task {
 public:
  using Options = MemorizationOptions;
  Memorization(const Options& o, uint64_t seed) : o_(o), keys_((o.vocab - 1) / 2) {
    if (o.length % 2) throw_at(o.mark, fmt::format("data.length {} is odd: keys stand before blanks", o.length));
    Draws draws(seed, "task.memorization.values");
    value_of_ = draws.distinct(keys_, o.vocab - 1 - keys_);
  }
  int64_t vocab() const override { return o_.vocab; }
  std::string symbol(int32_t id) const override {
    return id == o_.vocab - 1 ? "_" : id < keys_ ? fmt::format("k{}", id) : fmt::format("v{}", id - keys_);
  }
  int64_t longest() const override { return o_.length; }
  Sample sample(Draws& draws) const override {
    Sample s = unscored(std::vector<int32_t>(static_cast<size_t>(o_.length), static_cast<int32_t>(o_.vocab - 1)));
    for (size_t i = 0; i < s.tokens.size(); i += 2) {
      const int64_t key = draws.below(keys_);
      s.tokens[i] = static_cast<int32_t>(key);
      s.targets[i + 1] = static_cast<int32_t>(keys_ + value_of_[static_cast<size_t>(key)]);
    }
    return s;
  }

 private:
  Options o_;
  int64_t keys_;
  std::vector<int64_t> value_of_;  // of each key, each another
};

}  // namespace

extern constinit const TaskInfo memorization = TaskInfo::of<Memorization>({
    .name = "memorization",
    .title = "MAD: values that no sample shows",
    .paper = "Poli et al. 2024, arXiv:2403.17844",
    .source = "athms/mad-lab@0f49a45, mad/data/instances.py, generate_memorization_instance",
    .deviations = "which value a key has is decided by data.seed, in the code by a number of its own",
});

}  // namespace effllm::tasks

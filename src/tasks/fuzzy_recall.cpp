// MAD's fuzzy in-context recall: keys and values are one to a few tokens, keys of one alphabet and values of another.
// A key that has come before is to be answered with all tokens of its value.
//
//   k2 k0 v1 k1 v3 v2 k2 k0        scored: v1, at the second k0
#include <fmt/format.h>

#include <map>

#include "tasks/task.h"

namespace effllm::tasks {
namespace {

using Motif = std::vector<int32_t>;

struct FuzzyRecallOptions final : TaskOptions {
  int64_t vocab = 16, length = 128, key_motif = 3, value_motif = 3;
  void visit(OptionVisitor& v) override {
    v("vocab", vocab, "Sets the size of the vocabulary, half of it for keys.", between(2, 1 << 20));
    v("length", length, "Sets the tokens of a sample, at most.", between(4, kMostTokens));
    v("key_motif", key_motif, "Sets the tokens of a key, at most; all are different.", between(1, 1 << 10));
    v("value_motif", value_motif, "Sets the same of values.", between(1, 1 << 10));
    TaskOptions::visit(v);
  }
};

class FuzzyRecall final : public Task {
 public:
  using Options = FuzzyRecallOptions;
  FuzzyRecall(const Options& o, uint64_t) : o_(o), keys_(o.vocab / 2) {
    if (o.key_motif > keys_ || o.value_motif > o.vocab - keys_)
      throw_at(o.mark, fmt::format("data.vocab {} has too few symbols for motifs of {} and {}", o.vocab, o.key_motif,
                                   o.value_motif));
    if (o.length < 2 * (o.key_motif + o.value_motif))
      throw_at(o.mark, fmt::format("data.length {} has no room for two pairs; give at least {}", o.length,
                                   2 * (o.key_motif + o.value_motif)));
  }
  int64_t vocab() const override { return o_.vocab; }
  std::string symbol(int32_t id) const override {
    return id < keys_ ? fmt::format("k{}", id) : fmt::format("v{}", id - keys_);
  }
  int64_t longest() const override { return o_.length; }

  // Pairs up to where the last, which asks for one that came at a place drawn among them, still has room.
  Sample sample(Draws& draws) const override {
    std::map<Motif, Motif> value_of;
    const auto value_for = [&](const Motif& key) -> const Motif& {
      Motif& value = value_of[key];
      if (value.empty()) value = motif(draws, o_.value_motif, o_.vocab - keys_, keys_);
      return value;
    };
    const Motif asked = motif(draws, o_.key_motif, keys_, 0);
    value_for(asked);
    const int64_t largest = o_.key_motif + o_.value_motif;
    const auto own = static_cast<int64_t>(asked.size() + value_of[asked].size());
    const int64_t end = o_.length - own, at = draws.below(std::max<int64_t>(1, end - own - largest + 1));
    std::map<Motif, bool> come;
    Sample s;
    const auto place = [&](const Motif& key) {
      const Motif& value = value_for(key);
      add(s, key, value, come[key]);
      come[key] = true;
    };
    while (static_cast<int64_t>(s.tokens.size()) + largest <= end) {
      const bool now = !come[asked] && static_cast<int64_t>(s.tokens.size()) >= at;
      place(now ? asked : motif(draws, o_.key_motif, keys_, 0));
    }
    if (!come[asked]) place(asked);
    place(asked);
    s.tokens.pop_back();  // what nothing follows
    s.targets.pop_back();
    return s;
  }

 private:
  // 1 to `most` different tokens of `symbols`, from the id `first` on.
  static Motif motif(Draws& draws, int64_t most, int64_t symbols, int64_t first) {
    Motif m;
    for (const int64_t i : draws.distinct(draws.between(1, most), symbols))
      m.push_back(static_cast<int32_t>(first + i));
    return m;
  }
  static void add(Sample& s, const Motif& key, const Motif& value, bool scored) {
    s.tokens.insert(s.tokens.end(), key.begin(), key.end());
    s.tokens.insert(s.tokens.end(), value.begin(), value.end());
    s.targets.resize(s.tokens.size(), kIgnoredTarget);
    for (size_t i = 0; scored && i < value.size(); ++i) s.targets[s.tokens.size() - value.size() - 1 + i] = value[i];
  }

  Options o_;
  int64_t keys_;
};

}  // namespace

extern constinit const TaskInfo fuzzy_recall = TaskInfo::of<FuzzyRecall>({
    .name = "fuzzy_recall",
    .title = "MAD: the values of keys that have come before, each of several tokens",
    .paper = "Poli et al. 2024, arXiv:2403.17844",
    .source = "athms/mad-lab@0f49a45, mad/data/instances.py, generate_fuzzy_in_context_recall_instance",
    .deviations =
        "as in_context_recall; motifs of every number of tokens in all splits, where the code evaluates keys of "
        "the most tokens alone; nothing is padded in front, and no token is kept for that: samples have up to `length` "
        "tokens; the key at the end has always come before, where the code at times asks for one that has not",
    .continues = true,
});

}  // namespace effllm::tasks

// Goldfish loss (Hans et al. 2024, arXiv:2406.10209): next-token cross-entropy that leaves about one target in k out,
// so that what is not learnt there parts a model from a passage that it would otherwise recite. With the hashed mask
// token t is left out where u(x_{t-h} ... x_{t-1}) < 1/k, u a hash with values in [0, 1): a function of the h tokens
// before it, so that a passage loses the same tokens wherever it stands. The static mask takes every k-th target of a
// row.
#include <algorithm>

#include "base/random.h"
#include "objectives/early_exit.h"

namespace effllm::objectives {
namespace {

struct GoldfishOptions final : Options {
  int64_t k = 4;
  std::string mask = "hashed";
  std::optional<int64_t> context_width;
  EarlyExitOptions early_exit;
  void visit(OptionVisitor& v) override {
    v("k", k, "Leaves one target in k out of what training minimises; evaluation scores all.", between(2, kMostTokens));
    v("mask", mask, "Chooses what is left out: by a hash of the tokens before, or every k-th target of a row.",
      {"hashed", "static"});
    v("context_width", context_width,
      "Sets the tokens before a target that the hashed mask reads; a target with fewer before it in its document is "
      "kept; default: 13.",
      between(1, kMostTokens));
    v("early_exit", early_exit, "Trains the model to end after earlier layers too.");
  }
};

// Index of the first token of the document that token i belongs to.
int64_t document_start(const Stretch& s, int64_t i) {
  return s.document_starts ? std::ranges::upper_bound(*s.document_starts, i)[-1] : 0;
}

class Goldfish final : public Objective {
 public:
  using Options = GoldfishOptions;
  explicit Goldfish(const Options& o)
      : k_(o.k), width_(o.context_width.value_or(13)), static_(o.mask == "static"), exits_(o.early_exit) {
    if (static_ && o.context_width)
      throw_at(o.mark, "objective.context_width belongs to mask: hashed; the static mask reads no tokens");
  }
  void cut(const Stretch& s, Batch& batch) const override {
    Objective::cut(s, batch);
    if (!s.training) return;
    auto target = batch.targets.end() - (s.end - s.begin);
    for (int64_t i = s.begin + 1; i <= s.end; ++i, ++target)
      if (static_ ? (i - 1 - s.begin) % k_ == 0 : hash_drops(s, i)) *target = kIgnoredTarget;
  }

  void require_layers(int64_t layers) const override { exits_.require_layers(layers); }
  double exits(int64_t layers) const override { return exits_.mean_exits(layers); }
  int64_t most_exits(int64_t layers) const override { return exits_.most_exits(layers); }
  int64_t exits_at(int64_t layers, int64_t step, double progress) const override {
    return exits_.exits_at(layers, step, progress);
  }
  Tensor loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
              State* state) const override {
    if (!cx.ledger || exits_.none()) return Objective::loss(model, rows, weight, cx, state);
    return exits_.loss(model, rows, weight, with_documents(cx, rows), state, 0).loss;
  }

 private:
  bool hash_drops(const Stretch& s, int64_t i) const {
    if (i - document_start(s, i) < width_) return false;
    const auto before = std::as_bytes(s.text.subspan(static_cast<size_t>(i - width_), static_cast<size_t>(width_)));
    const uint64_t key = fnv1a({reinterpret_cast<const char*>(before.data()), before.size()});
    return numbers_.uniform(key) < 1 / static_cast<double>(k_);
  }

  const int64_t k_, width_;
  const bool static_;
  const EarlyExit exits_;
  const RandomStream numbers_{0, "goldfish"};  // not of the run's seed: all runs leave out the same
};

}  // namespace

extern constinit const ObjectiveInfo goldfish = ObjectiveInfo::of<Goldfish>({
    .name = "goldfish",
    .title = "cross-entropy of the next token, but of one in k, so that passages are not memorised",
    .paper = "Hans et al. 2024, arXiv:2406.10209",
    .source = "ahans30/goldfish-loss@35d29f9, lit_gpt/utils.py, apply_goldfish",
    .deviations =
        "the hash reads the h tokens before the target, as the paper says, where the code reads the target and h - 1 "
        "before it, so that continuations that it drops are never learnt; it is FNV-1a and Philox in order, where "
        "the code multiplies ids, which is 0 with any id of 0, and looks the product up in numbers that depend on the "
        "device; tokens before a row are read, and those of another document are not where documents are told apart; "
        "defaults are those of the paper's models, k 4 and h 13; the static mask begins at the first target; "
        "early_exit "
        "is that of next_token",
});

}  // namespace effllm::objectives

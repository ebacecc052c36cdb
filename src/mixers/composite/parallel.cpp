// Mixers side by side on the same input, their outputs normalised and averaged, so that each layer may look back
// exactly and sum up at once.
//
//   y = 1/n sum_i rms_norm(branch_i(x)) with a learned scale per branch
//
// Remembers what its branches remember, fields "branches.<i>.<field>". Dong et al. 2024, arXiv:2411.13676 (Hymba),
// whose branches are attention and Mamba heads; here any mixers, also this one.
#include <algorithm>

#include "mixers/mixer.h"
#include "nn/norm.h"
#include "ops/arithmetic.h"

namespace effllm::mixers {
namespace {

struct ParallelOptions final : Options {
  Choices<LayerInfo> branches{all_mixers, {"attention", "gla"}};
  double norm_eps = 1e-6;
  void visit(OptionVisitor& v) override {
    v("branches", branches, "Lists the mixers, each with a `type` and its options.");
    visit_norm_eps(v, norm_eps);
  }
};

class Parallel final : public Layer {
 public:
  using Options = ParallelOptions;

  Parallel(const Options& o, const LayerArgs& args, const Scope& s) {
    Diagnostics found;
    for (const Choice<LayerInfo>& branch : o.branches) {
      const std::string number = fmt::format("{}", branches_.size());
      branches_.push_back({"branches." + number,
                           found.collect([&] { return branch.build(args, s / "branches" / number); }),
                           RmsNorm(s / "norms" / number, args.d_model, o.norm_eps)});
    }
    found.throw_if_any();
    if (branches_.empty()) throw_at(o.mark, "parallel: give `branches`, a list of mixers");
  }

  void declare(Site& site) const override {
    for (const Branch& b : branches_) site.child(b.name, *b.mixer);
  }
  int64_t sequences_together() const override {
    int64_t n = 1;
    for (const Branch& b : branches_) n = std::max(n, b.mixer->sequences_together());
    return n;
  }
  LongText long_text(int64_t trained) const override {
    LongText all;
    for (const Branch& b : branches_) all |= b.mixer->long_text(trained);
    return all;
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    Tensor sum;
    for (const Branch& b : branches_) {
      const Tensor y = b.norm(b.mixer->forward(x, call.child(b.name)));
      sum = sum.defined() ? add(sum, y) : y;
    }
    return branches_.size() == 1 ? sum : scale(sum, 1 / static_cast<double>(branches_.size()));
  }

 private:
  struct Branch {
    std::string name;
    std::unique_ptr<Layer> mixer;
    RmsNorm norm;
  };
  std::vector<Branch> branches_;
};

constexpr std::string_view kVariants[] = {
    "{branches: [{type: min_gru}, {type: attention, heads: 1, position: alibi}, {type: hgrn}]}",
    "{branches: [{type: attention, heads: 2, window: 5, value_residual: 0.5}, {type: attention, heads: 4, "
    "value_residual: 0.3}]}",
    "{branches: [{type: parallel, branches: [{type: mla, heads: 2}, {type: rg_lru, blocks: 2}]}, {type: min_lstm}]}",
};

}  // namespace

extern constinit const LayerInfo parallel = LayerInfo::of<Parallel>({
    .name = "parallel",
    .title = "Mixers side by side",
    .family = "composite",
    .recurrence = "that of its branches",
    .paper = "Dong et al. 2024, arXiv:2411.13676",
    .source = "NVlabs/hymba@df5b2a9, barebones_hymba_block.py",
    .deviations =
        "branches are whole mixers with projections of their own, where Hymba's heads share one input and one "
        "output projection; no meta tokens, no keys and values shared between layers",
    .prefix_and_blocks = true,
    .unseen = "what its branches meet",
    .tiny = "{branches: [{type: attention, heads: 2, window: 5}, {type: gla, heads: 2, gate_rank: 3}]}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace effllm::mixers

// Mixture of experts: a token goes to the k of E perceptrons that a router scores highest.
//
//   y = sum over chosen e of w_e f_e(x) (+ shared(x));  s = softmax(W_r x) or sigmoid(W_r x);  w = s of the chosen
//
// Or a hash of the token's id chooses, which nothing has to learn: y = f_e(x), e = hash(id).
// Remembers nothing. Experts take the tokens that chose them together, in segments of one buffer, whose size no choice
// changes. In training a loss or a bias of each expert keeps them evenly used. Shazeer et al. 2017, arXiv:1701.06538;
// shared and fine-grained experts: Dai et al. 2024, arXiv:2401.06066; biases: Wang et al. 2024, arXiv:2408.15664.
#include "ffn/experts.h"
#include "ffn/ffn.h"
#include "ffn/plain_experts.h"
#include "ffn/router.h"
#include "ops/arithmetic.h"

namespace effllm::ffns {
namespace {

struct MoeOptions final : ExpertOptions {
  RouterOptions router;
  PlainExpertOptions plain;
  int64_t shared = 0;
  std::string shared_as = "sum";
  void visit(OptionVisitor& v) override {
    ExpertOptions::visit(v);
    router.visit(v);
    plain.visit(v);
    v("shared", shared, "Adds experts that all tokens go to, so many.", between(0, 1024));
    v("shared_as", shared_as, "Adds what shared experts give, or takes the mean of it and top_k times the others'.",
      {"sum", "average"});
  }
};

class Moe final : public Layer {
 public:
  using Options = MoeOptions;

  Moe(const Options& o, const LayerArgs& args, const Scope& s)
      : routed_(o.router.experts),
        plain_count_(o.plain.constants + o.plain.copies),
        router_(checked(o, args), "moe", args, s / "router", o.mark),
        experts_(o, args.d_model, routed_, active(o), s / "experts"),
        plain_(o.plain, args.d_model, s / "constants"),
        of_routed_(o.shared > 0 && o.shared_as == "average" ? static_cast<double>(o.router.top_k) : 0),
        limited_(o.router.capacity) {
    if (o.shared > 0) shared_.emplace(o, args.d_model, o.shared, s / "shared");
  }

  bool trains_otherwise() const override { return limited_; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Routing to = router_(x, call);
    Tensor routed = experts_(x, plain_count_ > 0 ? experts_within(to.experts, 0, routed_) : to.experts, to.weights, 0,
                             to.most_each);
    if (plain_count_ > 0) {
      const Tensor plain = experts_within(to.experts, routed_, routed_ + plain_count_);
      routed = add(routed, plain_(x, weights_of_all(to.weights, plain, plain_count_)));
    }
    if (!shared_) return routed;
    const Tensor shared = (*shared_)(x);
    if (of_routed_ == 0) return add(routed, shared);
    return scale(add(scale(routed, of_routed_), shared), 1 / (of_routed_ + 1));
  }

 private:
  // How many perceptrons a token goes to as a rule: of all experts alike.
  static double active(const Options& o) {
    const auto perceptrons = static_cast<double>(o.router.experts),
               all = perceptrons + static_cast<double>(o.plain.count());
    return std::min(static_cast<double>(o.router.top_k), all) * perceptrons / all;
  }
  static RouterOptions checked(const Options& o, const LayerArgs& args) {
    if (o.router.capacity && args.block > 0)
      throw_at(o.mark,
               "moe: capacity beside blocks of tokens: clean tokens of a block would decide which noisy ones of it are "
               "dropped; leave it out");
    RouterOptions all = o.router;
    all.experts += o.plain.count();
    all.silent = o.plain.zeros;
    all.check(o.mark);
    if (o.shared_as == "average" && o.router.choose != "top_k" && o.router.choose != "hash")
      throw_at(o.mark, "shared_as: average takes top_k experts into the mean: leave it out with " + o.router.choose);
    if (o.shared_as != "sum" && o.shared == 0) throw_at(o.mark, "shared_as does nothing without shared experts");
    return all;
  }

  int64_t routed_, plain_count_;
  Router router_;
  Experts experts_;
  PlainExperts plain_;
  std::optional<SharedExpert> shared_;
  double of_routed_;
  bool limited_;  // by a capacity
};

constexpr std::string_view kVariants[] = {
    "{experts: 6, top_k: 3, groups: 3, groups_kept: 2, score: sigmoid, bias_rate: 0.01, bias_center: true, scale: 2.5}",
    "{choose: top_p, top_p: 0.5, topk_norm: false, activation: gelu, entropy: 0.01}",
    "{choose: relu, topk_norm: false}",
    "{choose: hash, top_k: 1, hash_seed: 3, shared: 1, copies: 1, zeros: 1, scale: 0.5}",
    "{choose: hash, top_k: 1, capacity: 1.25}",
    "{constants: 2, copies: 1, zeros: 1, top_k: 3}",
    "{copies: 1, score: sigmoid, scale: 1.5}",
    "{shared: 1, shared_as: average, topk_norm: false, balance_tokens: sequence, balance_f: k, router_z: 0.001}",
    "{shared: 2, capacity: 1.25, drop_order: choice_major, jitter: 0.1, balance_tokens: shard}"};

}  // namespace

extern constinit const LayerInfo moe = LayerInfo::of<Moe>({
    .name = "moe",
    .title = "Mixture of experts",
    .family = "channel mixer",
    .recurrence = "none",
    .paper = "Shazeer et al. 2017, arXiv:1701.06538; Dai et al. 2024, arXiv:2401.06066; Wang et al. 2024, "
             "arXiv:2408.15664; relu: Wang et al. 2024, arXiv:2412.14711; top_p: Huang et al. 2024, arXiv:2403.07652; "
             "hash: Roller et al. 2021, arXiv:2106.04426; experts without products: "
             "Jin et al. 2024, arXiv:2410.07348",
    .source = "allenai/OLMo-core@fa6c501, src/olmo_core/nn/moe; groups: deepseek-ai/DeepSeek-V3@9b4e978, "
              "inference/model.py; relu: "
              "thu-ml/ReMoE@463c6af, megatron/core/transformer/moe/router.py; top_p: ZhenweiAn/Dynamic_MoE@f56c20d; "
              "hash: facebookresearch/ParlAI@13fe067, projects/params_vs_compute/hash_ladder/hash_ladder.py; "
              "experts without products: "
              "SkyworkAI/MoE-plus-plus@7f43967, MoE++/moe_plus_plus_layer.py",
    .deviations =
        "the balance loss takes the shares of experts from the whole batch before (balance_tokens), which no cut of "
        "the batch changes; a capacity is one of each sequence with all its documents, not of the batch, is not "
        "rounded up to a multiple of 8, is the same for experts without products, and drops nothing in evaluation; "
        "all weights start N(0, 0.02), untruncated; sigmoid scores have no 1e-7 added; a group counts with its two "
        "best scores without a bias too; with relu the loss counts the batch before as well, and its weight starts at "
        "`balance`, theirs at 1e-8; hash has neither the residual and norm inside the layer nor a table balanced by "
        "how "
        "often tokens come, and experts as the others; experts "
        "without products come with neither the router's second layer, its residual from the layer before, the heavier "
        "balance loss of perceptrons nor the multiplication of what experts read by top_k",
    .prefix_and_blocks = true,
    .waivers = {.causal = "an expert multiplies its tokens together, and how many there are decides in which order "
                          "a product adds up",
                .training = "where there is a `capacity`, it drops choices in training, and which ones hangs on all "
                            "tokens of a sequence"},
    .tiny = "{experts: 4, top_k: 2, expand: 1.5}",
    .variants = kVariants,
});

}  // namespace effllm::ffns

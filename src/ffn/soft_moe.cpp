// Soft mixture of experts: every expert works on a few slots, each of which is a mean of all tokens.
//
//   l_ts = scale (x_t / |x_t|) . (phi_s / |phi_s|);  slot s is the sum over t of softmax_t(l)_ts x_t
//   y_t = sum over s of softmax_s(l)_ts f_e(slot s), e being the expert of slot s
//
// Nothing is chosen, and every token takes part in everything: it reads both ways only, and a document has slots to
// itself. Remembers nothing. Puigcerver et al. 2023, arXiv:2308.00951.
#include <cmath>

#include "cores/route/slots.h"
#include "ffn/experts.h"
#include "ffn/ffn.h"
#include "ops/arithmetic.h"
#include "ops/norm.h"
#include "ops/softmax.h"

namespace effllm::ffns {
namespace {

struct SoftMoeOptions final : ExpertOptions {
  int64_t experts = 8, slots = 4;
  void visit(OptionVisitor& v) override {
    v("experts", experts, "Sets the number of experts.", between(1, 65536));
    v("slots", slots, "Sets the slots of each expert, which it works on instead of tokens.", between(1, 4096));
    ExpertOptions::visit(v);
  }
};

constexpr double kNormEps = 1e-6;

class SoftMoe final : public Layer {
 public:
  using Options = SoftMoeOptions;

  SoftMoe(const Options& o, const LayerArgs& args, const Scope& s)
      : count_(o.experts),
        slots_(&s.param("slots.weight", {o.experts * o.slots, args.d_model},
                        Init::normal(1 / std::sqrt(static_cast<double>(args.d_model))),
                        {.role = Role::own, .matrices = {o.experts * o.slots}})),
        scale_(&s.param("slots.scale", {1}, Init::ones(), {.decay = false})),
        experts_(o, args.d_model, o.experts, static_cast<double>(o.experts), s / "experts") {}

  void declare(Site& site) const override { site.forget(); }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    require(call.pass().direction == Direction::bidirectional && !call.has_state(),
            "soft_moe: every token takes part in all slots: there is no causal form and no state");
    const Tensor& segments = call.segments();
    const int64_t width = x.cols(), slots = slots_->shape[0];
    const Tensor keys = scale_by(l2_norm(slots_->value, width, kNormEps), scale_->value);
    const Tensor logits = linear(l2_norm(x, width, kNormEps), keys);
    const Tensor taken = tokens_to_slots(x, softmax_of_tokens(logits, segments), segments);
    const Tensor experts = experts_of_slots(x.dim(0), x.dim(1), slots, count_, segments);
    // How many documents there are is told by these alone.
    const Tensor ones = Tensor::full(experts.shape(), x.dtype(), 1);
    const Tensor made = experts_(taken, experts, ones, segments.defined() ? 0 : experts.numel());
    return slots_to_tokens(made, softmax(logits), segments);
  }

 private:
  int64_t count_;
  Parameter *slots_, *scale_;
  Experts experts_;
};

constexpr std::string_view kNoForm = "every token takes part in all slots";
constexpr std::string_view kVariants[] = {"{experts: 2, slots: 3, activation: gelu}", "{experts: 1, slots: 1}"};

}  // namespace

extern constinit const LayerInfo soft_moe = LayerInfo::of<SoftMoe>({
    .name = "soft_moe",
    .title = "Soft mixture of experts, on means of tokens",
    .family = "channel mixer",
    .recurrence = "none",
    .paper = "Puigcerver et al. 2023, arXiv:2308.00951",
    .source = "google-research/vmoe@942a78b, vmoe/projects/soft_moe/router.py",
    .deviations = "experts have no biases, may be gated, and start N(0, 0.02); slots start untruncated; what is a "
                  "group of tokens there is a "
                  "document here; next_token, a causal objective, can't train it",
    .causal_form = false,
    .waivers = {.split = kNoForm, .causal = kNoForm},
    .tiny = "{experts: 3, slots: 2, expand: 1.5}",
    .variants = kVariants,
});

}  // namespace effllm::ffns

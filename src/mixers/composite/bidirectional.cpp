// Any causal mixer made to see both sides: once forwards, once over each document read backwards.
//
//   y = f(x) + flip(g(flip(x))),   f and g two copies of one mechanism, or the same weights where tied
//
// For models that see all of a text at once (masked or diffusion objectives); it has no causal form and remembers
// nothing. The construction of bidirectional RNNs, Schuster and Paliwal 1997.
#include "cores/common/flip_tokens.h"
#include "mixers/mixer.h"
#include "ops/arithmetic.h"

namespace effllm::mixers {
namespace {

struct BidirectionalOptions final : Options {
  Choice<LayerInfo> of{all_mixers, "min_gru"};
  bool tie = false;
  void visit(OptionVisitor& v) override {
    v("of", of, "Holds the mixer, with a `type` and its options; it runs causally, in both directions.");
    v("tie", tie, "Lets both directions share weights.");
  }
};

class Bidirectional final : public Layer {
 public:
  using Options = BidirectionalOptions;

  Bidirectional(const Options& o, const LayerArgs& args, const Scope& s)
      : forward_(o.of.build(args, s / "forward")),
        backward_(o.tie ? forward_ : std::shared_ptr<Layer>(o.of.build(args, s / "backward"))) {
    if (!has_causal_form(o.of)) throw_at(o.of.mark(), "bidirectional: a mixer that has a causal form is needed here");
  }

  void declare(Site& site) const override {
    site.forget();
    site.child("forward", *forward_);
    site.child("backward", *backward_);
  }
  int64_t sequences_together() const override { return forward_->sequences_together(); }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    require(call.pass().direction == Direction::bidirectional && !call.has_state(),
            "bidirectional: a token's output needs the tokens after it: there is no causal form and no state");
    Pass pass = call.pass();
    pass.direction = Direction::causal;
    Tokens flipped = call.tokens();
    flipped.positions = Tensor();  // counted from the end of each document
    const Tensor& segments = call.segments();
    const Tensor ahead = forward_->forward(x, call.child("forward").with(pass, call.tokens()));
    if (flipped.ids.defined()) flipped.ids = flip_tokens(flipped.ids, segments);
    const Call there = call.child("backward");
    flipped.shelf = there.shelf_of([&](const Tensor& value) { return flip_tokens(value, segments); });
    const Tensor back = backward_->forward(flip_tokens(x, segments), there.with(pass, flipped));
    return add(ahead, flip_tokens(back, segments));
  }

 private:
  std::shared_ptr<const Layer> forward_, backward_;
};

constexpr std::string_view kNoForm = "a token's output needs the tokens after it";
constexpr std::string_view kVariants[] = {
    "{tie: true}",
    "{of: {type: gla, heads: 1, gate_rank: 3, conv: 3}}",
    "{of: {type: attention, heads: 2, window: 5, value_residual: 0.5}}",
    "{of: {type: parallel, branches: [{type: attention, heads: 2}, {type: hgrn}]}}",
};

}  // namespace

extern constinit const LayerInfo bidirectional = LayerInfo::of<Bidirectional>({
    .name = "bidirectional",
    .title = "Both directions of a causal mixer",
    .family = "composite",
    .recurrence = "that of its mixer",
    .paper = "Schuster and Paliwal 1997",
    .source = "none: a construction, not a layer of anybody's",
    .deviations = "the two outputs are added where the paper's output layer reads both side by side; there is no "
                  "configs/mixers/bidirectional.yaml, because next_token, a causal objective, can't train it; "
                  "masked_diffusion does",
    .causal_form = false,
    .waivers = {.split = kNoForm, .causal = kNoForm},
    .tiny = "{of: {type: min_gru}}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace effllm::mixers

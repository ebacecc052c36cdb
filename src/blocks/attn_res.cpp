// Attention residuals: instead of the sum of all that came before, each part of a block reads a mean of it, weighed by
// attention over depth.
//
//   input = sum_i p_i v_i,  p = softmax over i of w . rms_norm(v_i);  w learned, 0 as it starts, for each part
//
// v_0 is what enters the first layer of the run, the others are what parts gave, or sums of them: of blocks of
// block_size parts, the last of them as far as it has come. What comes after the layers reads such a mean too, with a w
// that they share. Kimi Team 2026, arXiv:2603.15031.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "blocks/residual.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/depth_attention.h"

namespace effllm::blocks {
namespace {

constexpr std::string_view kDepth = "depth.", kRunning = "depth.partial";

std::string depth(int64_t i) { return fmt::format("{}{}", kDepth, i); }

// How many finished sources stand before this place, 0 where the one before has none: a run begins.
int64_t finished_before(const Site& site) {
  if (!site.before() || !site.before()->gives(kRunning)) return 0;
  int64_t count = 0;
  for (const auto* values : {&site.before()->given(), &site.before()->needed()})
    for (const SharedValue& v : *values) {
      int64_t i = -1;
      if (v.name.starts_with(kDepth)) std::from_chars(v.name.data() + kDepth.size(), v.name.data() + v.name.size(), i);
      count = std::max(count, i + 1);
    }
  return count;
}
// The number of this layer in its run.
int64_t place_in_run(const Site& site) {
  int64_t place = 0;
  for (const Site* s = site.before(); s && s->gives(kRunning); s = s->before()) ++place;
  return place;
}

struct AttnResOptions final : ResidualOptions {
  int64_t block_size = 1;
  double eps = 1e-6;
  void visit(OptionVisitor& v) override {
    ResidualOptions::visit(v);
    v("block_size", block_size,
      "Sets how many parts, two a layer, are added up to one source; 1 keeps each of them, otherwise it is even.",
      between(1, 1024));
    v("eps", eps, "Is added under the root of the norm of what is weighed.", between(0, 1));
  }
};

class AttnRes final : public Residual {
 public:
  using Options = AttnResOptions;
  AttnRes(const Options& o, const LayerArgs& args, const Scope& s)
      : Residual(o, args, s), width_(args.d_model), block_size_(o.block_size), eps_(o.eps) {
    if (o.parallel) throw_at(o.mark, "attn_res: each part reads a mean of its own: leave `parallel` out");
    if (o.cross) throw_at(o.cross.mark(), "attn_res reads for a mixer and a channel mixer: it takes no `cross`");
    if (o.block_size > 1 && o.block_size % 2)
      throw_at(o.mark, fmt::format("attn_res: block_size is 1 or even, two parts a layer, not {}", o.block_size));
    const auto one = [&](Parameter& query, Parameter& norm) { return Reader{&query, &norm}; };
    const auto own = [&](const Scope& p, std::string_view name) {
      return one(p.param(fmt::format("{}_query", name), {width_}, Init::zeros()),
                 p.param(fmt::format("{}_key_norm.weight", name), {width_}, Init::ones(), {.decay = false}));
    };
    of_mixer_ = own(s, "mixer");
    if (o.ffn) of_ffn_ = own(s, "ffn");
    of_rest_ = one(s.shared("attn_res.query", {width_}, Init::zeros()),
                   s.shared("attn_res.key_norm.weight", {width_}, Init::ones(), {.decay = false}));
  }

  void declare(Site& site) const override {
    int64_t finished = finished_before(site);
    const int64_t place = place_in_run(site);
    const auto more = [&] { site.gives_anew(depth(finished++), width_); };
    for (int64_t i = 0; i < finished; ++i) site.needs(depth(i), width_);
    if (finished > 0) site.needs(kRunning, width_);
    if (finished == 0 || ends_block(2 * place)) more();
    if (has_ffn() && ends_block(2 * place + 1)) more();
    if (finished >= static_cast<int64_t>(kMostDepths))
      throw ConfigError("attn_res: {} sources, more than {}, after so many layers: give them a larger block_size",
                        finished + 1, kMostDepths);
    site.gives_anew(kRunning, width_);
    Residual::declare(site);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const int64_t before = finished_before(call.site()), place = place_in_run(call.site());
    Tensors all;  // finished sources, and the running one behind them
    for (int64_t i = 0; i < before; ++i) all.push_back(taken(depth(i), call));
    all.push_back(before > 0 ? taken(kRunning, call) : x);
    const auto add_part = [&](const Tensor& f, bool ends) {
      if (ends)
        all.push_back(f);
      else
        all.back() = add(all.back(), f);
    };
    add_part(of_mixer(of_mixer_(all, eps_), call), before == 0 || ends_block(2 * place));
    if (has_ffn()) add_part(of_ffn(of_ffn_(all, eps_), call), ends_block(2 * place + 1));
    for (size_t i = static_cast<size_t>(before); i + 1 < all.size(); ++i)
      call.give(depth(static_cast<int64_t>(i)), all[i]);
    call.give(kRunning, all.back());
    call.advance(x.dim(1));
    return of_rest_(all, eps_);
  }

 private:
  using Tensors = std::vector<Tensor>;
  struct Reader {
    Parameter *query = nullptr, *norm = nullptr;
    Tensor operator()(const Tensors& all, double eps) const {
      return all.size() > 1 ? depth_attention(all, query->value, norm->value, eps) : all[0];
    }
  };
  // A name of its own, in the same memory: what this layer adds to the gradient is one sum, whether the layer is run
  // again or not.
  Tensor taken(std::string_view name, const Call& call) const { return split_columns(call.take(name), {width_})[0]; }
  // Whether what was running before part i of the run is finished.
  bool ends_block(int64_t i) const { return i % block_size_ == 0; }

  int64_t width_, block_size_;
  double eps_;
  Reader of_mixer_, of_ffn_, of_rest_;
};

constexpr std::string_view kVariants[] = {"{block_size: 2, ffn: none, norm_at: after}",
                                          "{block_size: 4, ffn: rwkv_channel_mix, dropout: 0.2}"};

}  // namespace

extern constinit const LayerInfo attn_res = LayerInfo::of<AttnRes>({
    .name = "attn_res",
    .title = "Attention residuals: a mean over depth",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper = "Kimi Team 2026, arXiv:2603.15031",
    .source = "fla-org/flash-linear-attention@bc3b101, fla/ops/attnres/naive.py and fla/models/abc/modeling_abc.py",
    .deviations = "any mixer, and a channel mixer or none, but neither `cross` nor `parallel`; in the first block of a "
                  "run the sum does not begin with what "
                  "enters it, which stays a source of its own, as there; every layer gives the last mean, where "
                  "layers end a run for good or a block of another kind follows",
    .prefix_and_blocks = true,
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{mixer: {type: attention, heads: 2, window: 5}, ffn: mlp}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace effllm::blocks

// PEER: a few of n^2 experts of a single neuron each, found by product keys.
//
//   q = W_q x;  expert i n + j scores c_i . q_1 + c'_j . q_2 by the halves of q;  g = softmax of the top_k best scores
//   y = sum over heads, and over the experts that each finds, of g_e f(u_e . x) v_e
//
// Heads share keys and experts. Remembers nothing. He 2024, arXiv:2407.04153.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cores/route/choose.h"
#include "cores/route/listed_rows.h"
#include "cores/route/product_keys.h"
#include "ffn/activation.h"
#include "ffn/ffn.h"
#include "ffn/routing_measures.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/softmax.h"

namespace effllm::ffns {
namespace {

constexpr Metric kUsed{"used", "1", "share of the experts that any token of the batch chose"};

struct PeerOptions final : Options {
  int64_t keys = 32, heads = 8, top_k = 16, key_dim = 32;
  std::string query_norm = "none", activation = "gelu";
  void visit(OptionVisitor& v) override {
    v("keys", keys, "Sets the number of sub-keys a side; there are as many experts as its square.", between(1, 4096));
    v("heads", heads, "Sets the number of heads, each with a query of its own.", between(1, 1024));
    v("top_k", top_k, "Sets the number of experts of each head.", between(1, 1024));
    v("key_dim", key_dim, "Sets the entries of a query, half of them for each side.", between(2, 4096));
    v("query_norm", query_norm, "Normalises each head's query of each token, or leaves it.", {"none", "layer_norm"});
    v("activation", activation, "Chooses what stands between an expert's two vectors.", kActivations);
  }
};

constexpr double kNormEps = 1e-5;

class Peer final : public Layer {
 public:
  using Options = PeerOptions;

  Peer(const Options& o, const LayerArgs& args, const Scope& s)
      : o_(checked(o)),
        query_(&s.param("query.weight", {o.heads * o.key_dim, args.d_model}, Init::torch_linear(args.d_model),
                        {.role = Role::hidden, .matrices = {o.heads * o.key_dim}})),
        keys_(&s.param("keys.weight", {2 * o.keys, o.key_dim / 2},
                       Init::uniform(1 / std::sqrt(static_cast<double>(o.key_dim) / 2)),
                       {.matrices = {o.keys, o.keys}})) {
    if (o.query_norm == "layer_norm") {
      scale_ = &s.param("query_norm.weight", {o.heads * o.key_dim}, Init::ones(), {.decay = false});
      offset_ = &s.param("query_norm.bias", {o.heads * o.key_dim}, Init::zeros(), {.decay = false});
    }
    const int64_t count = o.keys * o.keys;
    const double active = std::min(1.0, static_cast<double>(o.heads * o.top_k) / static_cast<double>(count));
    up_ = &s.param("experts.up.weight", {count, args.d_model}, Init::normal(0.02),
                   {.role = Role::hidden, .active = active, .experts = count, .matrices = {count}});
    down_ = &s.param("experts.down.weight", {count, args.d_model}, Init::normal(0.02),
                     {.role = Role::residual, .active = active, .experts = count, .matrices = {count}});
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    Tensor query = linear_by_dots(x, query_->value);
    if (scale_) query = layer_norm(query, scale_->value, offset_->value, kNormEps, o_.heads);
    const Tensor scores = sub_key_scores(query, keys_->value, o_.heads);
    const ChosenPairs chosen = choose_pairs(scores, o_.heads, o_.top_k);
    if (call.adds_up()) add_up(chosen.pairs, call);
    if (call.pass().taps) call.tap_choice(in_order(chosen.pairs), chosen.margin);
    const Tensor gates = softmax(add(scores_of(scores, chosen.first), scores_of(scores, chosen.second)), o_.heads);
    const Tensor inner = pointwise(activation_named(o_.activation), dot_listed(x, up_->value, chosen.pairs));
    return add_listed(multiply(gates, inner), down_->value, chosen.pairs);
  }

 private:
  void add_up(const Tensor& chosen, const Call& call) const {
    const std::vector<double> times = times_chosen(chosen, o_.keys * o_.keys);
    add_loads(times, call);
    call.whole(kUsed, times, [](std::span<const double> n) {
      return 1 - static_cast<double>(std::ranges::count(n, 0.0)) / static_cast<double>(n.size());
    });
  }
  static const Options& checked(const Options& o) {
    Diagnostics found;
    if (o.key_dim % 2 != 0) found.error(o.mark, fmt::format("key_dim is {}: a query has two halves", o.key_dim));
    if (o.top_k > o.keys * o.keys)
      found.error(o.mark, fmt::format("top_k is {}, but there are {} experts", o.top_k, o.keys * o.keys));
    found.throw_if_any();
    return o;
  }

  Options o_;
  Parameter *query_, *keys_, *scale_ = nullptr, *offset_ = nullptr, *up_, *down_;
};

constexpr std::string_view kVariants[] = {"{query_norm: layer_norm, activation: relu}",
                                          "{keys: 3, heads: 1, top_k: 9}"};

}  // namespace

extern constinit const LayerInfo peer = LayerInfo::of<Peer>({
    .name = "peer",
    .title = "Parameter-efficient expert retrieval: very many experts of one neuron",
    .family = "channel mixer",
    .recurrence = "none",
    .paper = "He 2024, arXiv:2407.04153",
    .source = "none: the author's is not public; keys start as in facebookresearch/XLM@cd281d3, PKM-layer.ipynb",
    .deviations = "no batch norm of queries, through which the tokens of a batch would depend on one another: "
                  "query_norm is a layer norm of each head's query in its place, or none; the paper does not say how "
                  "its weights start: queries as PyTorch's linear layers, experts N(0, 0.02)",
    .prefix_and_blocks = true,
    .tiny = "{keys: 4, heads: 2, top_k: 3, key_dim: 6}",
    .variants = kVariants,
});

}  // namespace effllm::ffns

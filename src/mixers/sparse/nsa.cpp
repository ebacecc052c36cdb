// Native sparse attention: a token reads summaries of everything, a few blocks of keys in full, and a window.
//
//   q = W_q x;  k, v of each branch = W x;  RoPE on q and k of the last two branches
//   compressed: block vector i = MLP(tokens [i stride, i stride + length) + position), seen once complete
//   selected:   the blocks that the compressed branch's probabilities, summed over a group of heads, find important;
//               the first, the own and the one before always
//   window:     the last tokens
//   y = W_o sum_b sigmoid(W_g x)_b o_b, a gate per head and branch
//
// The choice has no gradient. Remembers block vectors, k and v of every token for the second branch, the window's, and
// the tokens of block vectors to come. Yuan et al. 2025, arXiv:2502.11089.
#include "base/text.h"
#include "cores/attention/compressed_attention.h"
#include "cores/attention/selected_attention.h"
#include "mixers/attention/kv_cache.h"
#include "mixers/mixer.h"
#include "mixers/sparse/block_vectors.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/groups.h"
#include "ops/pointwise.h"
#include "ops/rotary.h"

namespace effllm::mixers {
namespace {

struct NsaOptions final : Options {
  int64_t heads = 4, kv_heads = 1, compress_block = 32, compress_stride = 16, select_block = 64, select = 16,
          window = 512;
  std::optional<int64_t> head_dim, compress_hidden;
  double rope_theta = 10000;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of query heads.", between(1, 1024));
    v("kv_heads", kv_heads,
      "Sets the number of key-value heads, a divisor of heads; the heads of a group read the same blocks.",
      between(1, 1024));
    v("head_dim", head_dim, "Sets the width of a head; default: d_model / heads.", between(1, 4096));
    v("compress_block", compress_block, "Sets how many tokens make a block vector.", between(2, 1 << 20));
    v("compress_stride", compress_stride,
      "Sets the tokens from one block vector to the next, a divisor of both blocks.", between(1, 1 << 20));
    v("compress_hidden", compress_hidden,
      "Sets the width of the hidden layer that makes block vectors; default: 2 head_dim.", between(1, 65536));
    v("select_block", select_block, "Sets the number of keys in a block that is read in full.",
      between(1, kMostTokens));
    v("select", select, "Sets how many blocks are read in full, three of them always the same.", between(3, 4096));
    v("window", window, "Sets how many tokens are always seen, the own one included.", between(1, kMostTokens));
    v("rope_theta", rope_theta, "Sets the base of the rotary frequencies.", at_least(1));
  }
};

class Nsa final : public Layer {
 public:
  using Options = NsaOptions;

  Nsa(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        groups_(o.kv_heads),
        width_(o.head_dim.value_or(std::max<int64_t>(1, args.d_model / o.heads))),
        window_(o.window),
        q_(s / "q", args.d_model, heads_ * width_, Init::gpt2()),
        kv_(s / "kv", args.d_model, std::vector(6, groups_ * width_), Init::gpt2()),
        gate_(s / "gate", args.d_model, {heads_, heads_, heads_}, Init::gpt2()),
        out_(s / "out", heads_ * width_, args.d_model, Init::gpt2_residual(args.layers), Role::residual),
        block_vectors_(s, {.length = o.compress_block, .stride = o.compress_stride, .groups = groups_}, width_,
                       o.compress_hidden.value_or(2 * width_)),
        selected_(0, 0, groups_ * width_, groups_ * width_, "selected_k", "selected_v"),
        recent_(o.window, 0, groups_ * width_, groups_ * width_, "window_k", "window_v"),
        compressed_{.heads = heads_,
                    .kv_heads = groups_,
                    .length = o.compress_block,
                    .stride = o.compress_stride,
                    .block = o.select_block,
                    .select = o.select} {
    Diagnostics found;
    if (!o.head_dim && args.d_model % heads_)
      found.error(o.mark, fmt::format("nsa: {} heads don't divide d_model {}; give head_dim", heads_, args.d_model));
    else if (width_ % 2)
      found.error(o.mark, fmt::format("nsa: rope turns pairs; heads of {} have an odd width", width_));
    if (heads_ % groups_)
      found.error(o.mark, fmt::format("nsa: {} don't divide {}", counted(groups_, "kv_head"), counted(heads_, "head")));
    if (o.compress_block % o.compress_stride || o.select_block % o.compress_stride)
      found.error(o.mark, fmt::format("nsa: compress_stride {} doesn't divide compress_block {} and select_block {}",
                                      o.compress_stride, o.compress_block, o.select_block));
    found.throw_if_any();
    rope_ = std::make_shared<RotaryTable>(width_, o.rope_theta, args.max_tokens);
  }

  void declare(Site& site) const override {
    selected_.declare(site);
    recent_.declare(site);
    block_vectors_.declare(site);
  }

  // What is chosen counts from the document's start, so no window of it could roll.
  LongText long_text(int64_t) const override { return {.unseen = true, .anew = true}; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor segments = call.segments(), positions = call.positions(x);
    const int64_t n = groups_ * width_;
    const Tensor q = q_(x), turned = rotary(q, positions, heads_, rope_);
    const auto kv = split_columns(kv_(x), {n, n, n, n, n, n});
    const Summaries s = block_vectors_(kv[0], kv[1], call, call.counted(x));
    CompressedOptions options = compressed_;
    options.chunk = call.pass().chunk;

    CachedKeys keys{.k = rotary(kv[2], positions, groups_, rope_), .v = kv[3], .places = {}},
        recent{.k = rotary(kv[4], positions, groups_, rope_), .v = kv[5], .places = {}};
    recent.places.segments = segments;
    if (call.has_state()) {
      keys = selected_.extend(keys.k, keys.v, call);
      recent = recent_.extend(recent.k, recent.v, call);
    }
    Tensor margin;
    const Tensor blocks = important_blocks(q, s.k, s.ranges, options, call.pass().taps ? &margin : nullptr);
    call.tap_choice(blocks, margin);
    AttentionOptions near{.heads = heads_, .kv_heads = groups_, .window = window_};
    if (call.pass().chunk > 0) near.chunk = call.pass().chunk;
    const Tensor branches[] = {compressed_attention(q, s.k, s.v, s.ranges, options),
                               selected_attention(turned, keys.k, keys.v, blocks,
                                                  {.heads = heads_, .kv_heads = groups_, .block = compressed_.block},
                                                  keys.places.q_offset, segments),
                               effllm::attention(turned, recent.k, recent.v, near, recent.places)};
    const auto gates = split_columns(sigmoid(gate_(x)), {heads_, heads_, heads_});
    Tensor o = multiply_groups(branches[0], gates[0]);
    for (size_t i : {1, 2}) o = add(o, multiply_groups(branches[i], gates[i]));
    return out_(o);
  }

 private:
  int64_t heads_, groups_, width_, window_;
  Linear q_, kv_, gate_, out_;
  BlockVectors block_vectors_;
  KvCache selected_, recent_;
  CompressedOptions compressed_;
  std::shared_ptr<const RotaryTable> rope_;
};

constexpr std::string_view kVariants[] = {
    "{select_block: 2, select: 4}",
    "{heads: 4, kv_heads: 2, head_dim: 2, select_block: 2, window: 3}",
    "{compress_block: 6, select_block: 2, select: 4, compress_hidden: 5}",
};

}  // namespace

extern constinit const LayerInfo nsa = LayerInfo::of<Nsa>({
    .name = "nsa",
    .title = "Native sparse attention",
    .family = "sparse attention",
    .recurrence = "selected attention",
    .paper = "Yuan et al. 2025, arXiv:2502.11089",
    .source = "lucidrains/native-sparse-attention-pytorch@83fa271; the authors published none: start as GPT-2's, "
              "karpathy/nanoGPT@3adf61e",
    .deviations = "init as in GPT-2, that of the block vectors' layers as in PyTorch (the paper gives none); no "
                  "RoPE in the compressed branch; the first block, the own and the one before are always selected",
    .unseen = "the number of block vectors to choose from, and RoPE's distances to the chosen blocks",
    .tiny = "{heads: 2, kv_heads: 1, compress_block: 4, compress_stride: 2, select_block: 4, select: 3, window: 5, "
            "compress_hidden: 3}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace effllm::mixers

// Mixture of block attention: a token reads its own block of keys and the few blocks before it whose mean key is
// nearest.
//
//   q, k, v = W x, RoPE on q and k;  mean_c = the mean key of block c, blocks counted from the document's start
//   blocks of a token and head: its own, and the top_k - 1 complete ones before it with the largest q . mean_c
//   o = softmax of q.k / sqrt(dh) over the keys up to the token in these blocks, v weighed by it;  y = W_o o
//
// The choice has no gradient; it is the same for training, prompt and decoding. Remembers k and v of every token, and
// the means. Lu et al. 2025, arXiv:2502.13189.
#include "cores/attention/block_selection.h"
#include "cores/attention/selected_attention.h"
#include "cores/common/segments.h"
#include "mixers/attention/kv_cache.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "ops/columns.h"
#include "ops/rotary.h"
#include "ops/splice.h"

namespace effllm::mixers {
namespace {

struct MobaOptions final : Options {
  int64_t heads = 4, block = 64, top_k = 3;
  double rope_theta = 10000;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of heads, each with keys, values and choices of its own.", between(1, 1024));
    v("block", block, "Sets the number of keys in a block.", between(1, kMostTokens));
    v("top_k", top_k, "Sets how many blocks a token reads, its own included.", between(1, 4096));
    v("rope_theta", rope_theta, "Sets the base of the rotary frequencies.", at_least(1));
  }
};

class Moba final : public Layer {
 public:
  using Options = MobaOptions;

  Moba(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(args.d_model),
        heads_(o.heads),
        block_(o.block),
        top_k_(o.top_k),
        qkv_(s / "qkv", width_, {width_, width_, width_}, Init::gpt2()),
        out_(s / "out", width_, width_, Init::gpt2_residual(args.layers), Role::residual),
        cache_(0, 0, width_, width_) {
    if (width_ % heads_ || width_ / heads_ % 2)
      throw_at(o.mark, fmt::format("moba: {} heads don't share d_model {} in even widths", heads_, width_));
    rope_ = std::make_shared<RotaryTable>(width_ / heads_, o.rope_theta, args.max_tokens);
  }

  void declare(Site& site) const override {
    cache_.declare(site);
    site.per_token("means", {width_}, [n = block_](int64_t tokens) { return (tokens + n - 1) / n; });
  }

  // What is chosen counts from the document's start, so no window of it could roll.
  LongText long_text(int64_t) const override { return {.unseen = true, .anew = true}; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const auto parts = split_columns(qkv_(x), {width_, width_, width_});
    const Tensor positions = call.positions(x);
    const Tensor q = rotary(parts[0], positions, heads_, rope_);
    CachedKeys keys{.k = rotary(parts[1], positions, heads_, rope_), .v = parts[2], .places = {}};
    const Tensor segments = call.segments();
    Tensor means;
    if (call.has_state()) {
      keys = cache_.extend(keys.k, keys.v, call);
      means = extend_means(keys, call, x.dim(1));
    } else {
      means = block_means(keys.k.untracked(), block_, x.dim(1), {}, segments);
      keys.places.q_offset = Tensor::zeros({x.dim(0)}, DType::i64);
    }
    Tensor margin;
    const Tensor blocks = nearest_blocks(q, means, heads_, block_, top_k_, keys.places.q_offset, segments,
                                         call.pass().taps ? &margin : nullptr);
    call.tap_choice(blocks, margin);
    const SelectedAttentionOptions options{.heads = heads_, .kv_heads = heads_, .block = block_};
    return out_(selected_attention(q, keys.k, keys.v, blocks, options, keys.places.q_offset, segments));
  }

 private:
  // The means of the blocks that are complete after the call; moves the state's on.
  Tensor extend_means(const CachedKeys& keys, const Call& call, int64_t tokens) const {
    const Tensor segments = call.segments(), before = call.seen();
    const bool in_place = !Tape::recording() && !segments.defined();
    const Tensor field = in_place ? call.grow("means") : call.read("means");
    const int64_t batch = keys.k.dim(0), rows = field.dim(1);
    const int64_t* seen = before.data<int64_t>();
    if (in_place) {
      for (int64_t b = 0; !MetaMode::on() && b < batch; ++b)
        for (int64_t c = seen[b] / block_; c < (seen[b] + tokens) / block_; ++c)
          block_mean(keys.k, b, c * block_, block_, field, c);
      call.write("means", field);
      return field.untracked();
    }
    const Tensor all = block_means(keys.k, block_, tokens, keys.places.q_offset, segments);
    const Tensor after = Tensor::dense({batch, rows}, DType::i64);
    const DocumentStarts starts(segments);
    for (int64_t b = 0; !MetaMode::on() && b < batch; ++b) {
      const uint8_t* s = starts.row(b);
      const int64_t begin = document_begin(s, tokens - 1);
      const int64_t first = begin > 0 || !continues(s) ? seen[b] + begin : 0;  // key of the running document
      const int64_t complete = (seen[b] + tokens - first) / block_;
      for (int64_t c = 0; c < rows; ++c) after.data<int64_t>()[b * rows + c] = c < complete ? first / block_ + c : -1;
    }
    call.write("means", splice_rows(all, field, after));
    return all;
  }

  int64_t width_, heads_, block_, top_k_;
  Linear qkv_, out_;
  KvCache cache_;
  std::shared_ptr<const RotaryTable> rope_;
};

constexpr std::string_view kVariants[] = {"{block: 2, top_k: 3}", "{heads: 4, block: 3, top_k: 2}"};

}  // namespace

extern constinit const LayerInfo moba = LayerInfo::of<Moba>({
    .name = "moba",
    .title = "Mixture of block attention",
    .family = "sparse attention",
    .recurrence = "selected attention",
    .paper = "Lu et al. 2025, arXiv:2502.13189",
    .source =
        "MoonshotAI/MoBA@61e456b, moba/moba_naive.py; it has no start of its own: GPT-2's, karpathy/nanoGPT@3adf61e",
    .deviations = "init as in GPT-2; q, k and v are one matrix; a token's own block counts inside top_k; the "
                  "authors decode with full attention, here every form chooses",
    .unseen = "RoPE's distances and the number of blocks to choose from",
    .tiny = "{heads: 2, block: 4, top_k: 2}",
    .variants = kVariants,
});

}  // namespace effllm::mixers

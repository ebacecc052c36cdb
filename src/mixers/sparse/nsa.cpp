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
#include "mixers/attention/kv_cache.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/tail.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/groups.h"
#include "ops/pointwise.h"
#include "ops/rotary.h"
#include "ops/splice.h"
#include "recurrence/compressed_attention.h"
#include "recurrence/segments.h"
#include "recurrence/selected_attention.h"
#include "recurrence/token_windows.h"

namespace effllm::mixers {
namespace {

struct NsaYaml final : Options {
  int64_t heads = 4, kv_heads = 1, compress_block = 32, compress_stride = 16, select_block = 64, select = 16,
          window = 512;
  std::optional<int64_t> head_dim, compress_hidden;
  double rope_theta = 10000;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Query heads.", between(1, 1024));
    v("kv_heads", kv_heads, "Key-value heads, a divisor of heads; the heads of a group read the same blocks.",
      between(1, 1024));
    v("head_dim", head_dim, "Width of a head (default: d_model / heads).", between(1, 4096));
    v("compress_block", compress_block, "Tokens in a block vector.", between(2, 1 << 20));
    v("compress_stride", compress_stride, "Tokens from one block vector to the next, a divisor of both blocks.",
      at_least(1));
    v("compress_hidden", compress_hidden, "Width of the hidden layer that makes block vectors (default: 2 head_dim).",
      at_least(1));
    v("select_block", select_block, "Keys in a block that is read in full.", at_least(1));
    v("select", select, "Blocks that are read in full, three of them always the same.", between(3, 4096));
    v("window", window, "Tokens that are always seen, the own one included.", at_least(1));
    v("rope_theta", rope_theta, "Base of the rotary frequencies.", at_least(1));
  }
};

// Windows of tokens to one vector each: W_2 gelu(W_1 (tokens + position) + b_1) + b_2.
struct Compressor {
  Compressor(const Scope& s, int64_t length, int64_t width, int64_t hidden)
      : position(&s.param("position", {length, width}, Init::zeros(), {.decay = false})),
        up(s / "up", length * width, hidden, Init::torch_linear(length * width), Role::hidden, true),
        down(s / "down", hidden, width, Init::torch_linear(hidden), Role::hidden, true) {
    up.bias->init = Init::torch_linear(length * width);
    down.bias->init = Init::torch_linear(hidden);
  }
  Tensor operator()(const Tensor& x, const TokenWindowsOptions& o, const WindowCache& cache,
                    const Tensor& segments) const {
    return down(pointwise(Pointwise::gelu, up(token_windows(x, position->value, o, cache, segments))));
  }
  Parameter* position;
  Linear up, down;
};

class Nsa final : public SequenceMixer {
 public:
  using Options = NsaYaml;

  Nsa(const Options& o, const MixerArgs& args, const Scope& s)
      : heads_(o.heads),
        groups_(o.kv_heads),
        width_(o.head_dim.value_or(std::max<int64_t>(1, args.d_model / o.heads))),
        window_(o.window),
        q_(s / "q", args.d_model, heads_ * width_, Init::normal(0.02)),
        kv_(s / "kv", args.d_model, 6 * groups_ * width_, Init::normal(0.02)),
        gate_(s / "gate", args.d_model, 3 * heads_, Init::normal(0.02)),
        out_(s / "out", heads_ * width_, args.d_model, Init::normal(0.02), Role::residual),
        compress_k_(s / "compress_k", o.compress_block, width_, o.compress_hidden.value_or(2 * width_)),
        compress_v_(s / "compress_v", o.compress_block, width_, o.compress_hidden.value_or(2 * width_)),
        selected_(0, 0, groups_ * width_, groups_ * width_),
        recent_(o.window, 0, groups_ * width_, groups_ * width_),
        windows_{.length = o.compress_block, .stride = o.compress_stride, .groups = groups_},
        compressed_{.heads = heads_,
                    .kv_heads = groups_,
                    .length = o.compress_block,
                    .stride = o.compress_stride,
                    .block = o.select_block,
                    .select = o.select} {
    if (!o.head_dim && args.d_model % heads_)
      throw_at(o.mark, fmt::format("nsa: {} heads don't divide d_model {}; give head_dim", heads_, args.d_model));
    if (heads_ % groups_) throw_at(o.mark, fmt::format("nsa: {} kv_heads don't divide {} heads", groups_, heads_));
    if (width_ % 2) throw_at(o.mark, fmt::format("nsa: rope turns pairs; heads of {} have an odd width", width_));
    if (o.compress_block % o.compress_stride || o.select_block % o.compress_stride)
      throw_at(o.mark, fmt::format("nsa: compress_stride {} doesn't divide compress_block {} and select_block {}",
                                   o.compress_stride, o.compress_block, o.select_block));
    rope_ = std::make_shared<RotaryTable>(width_, o.rope_theta, args.max_tokens);
  }

  StateSpec state_spec(int64_t tokens) const override {
    StateSpec spec;
    const auto add = [&](const char* prefix, const StateSpec& from) {
      for (const StateField& f : from.fields) spec.fields.push_back({prefix + f.name, f.shape, f.growth});
    };
    add("selected_", selected_.spec(tokens));
    add("window_", recent_.spec(tokens));
    const int64_t summaries = std::max<int64_t>(1, windows_of(tokens, windows_));
    for (const char* name : {"compressed_k", "compressed_v"})
      spec.fields.push_back({name, {summaries * groups_, width_}, Growth::per_token});
    for (const char* name : {"raw_k", "raw_v"})
      spec.fields.push_back({name, {windows_.length - 1, groups_ * width_}, Growth::ring});
    return spec;
  }

 protected:
  Tensor mix(const Tensor& x, const Context& cx) const override {
    const Tensor segments = cx.segments ? *cx.segments : Tensor(), positions = token_positions(cx, x.dim(0), x.dim(1));
    const int64_t n = groups_ * width_;
    const Tensor q = q_(x), turned = rotary(q, positions, heads_, rope_);
    const auto kv = split_columns(kv_(x), {n, n, n, n, n, n});
    const Summaries s = summarise(kv[0], kv[1], cx, positions);
    CompressedOptions options = compressed_;
    options.chunk = cx.chunk;

    CachedKeys keys{.k = rotary(kv[2], positions, groups_, rope_), .v = kv[3], .places = {}},
        recent{.k = rotary(kv[4], positions, groups_, rope_), .v = kv[5], .places = {}};
    recent.places.segments = segments;
    if (cx.state) {
      keys = selected_.extend(keys.k, keys.v, *cx.state, cx.segments, false, kSelected);
      recent = recent_.extend(recent.k, recent.v, *cx.state, cx.segments, false, kWindow);
    }
    const Tensor blocks = important_blocks(q, s.k, s.ranges, options);
    AttentionOptions near{.heads = heads_, .kv_heads = groups_, .window = window_};
    if (cx.chunk > 0) near.chunk = cx.chunk;
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
  enum Field : size_t { kSelected = 0, kWindow = 2, kCompressed = 4, kRaw = 6 };

  // Block vectors that are complete after the call, and which of them each token sees.
  struct Summaries {
    Tensor k, v;  // [B, N*G, width]
    SummaryRanges ranges;
  };
  // Where the running document of one sequence stands before a call, and where its block vectors lie.
  struct Place {
    int64_t seen = 0, done = 0, pending = 0;  // tokens; complete block vectors; tokens that the next ones need
    int64_t begin = -1;  // token of the call that starts the document that runs on after it; -1: it began before
    int64_t running(int64_t tokens) const { return begin < 0 ? seen + tokens : tokens - begin; }
  };

  Summaries summarise(const Tensor& k, const Tensor& v, const Context& cx, const Tensor& positions) const {
    const int64_t batch = k.dim(0), tokens = k.dim(1);
    const Tensor segments = cx.segments ? *cx.segments : Tensor();
    std::vector<Place> places(static_cast<size_t>(batch));
    TokenWindowsOptions o = windows_;
    o.rows = std::max<int64_t>(1, windows_of(cx.state ? windows_.length - 1 + tokens : tokens, windows_));
    Summaries s;
    if (!cx.state) {
      s.k = compress_k_(k, o, {}, segments);
      s.v = compress_v_(v, o, {}, segments);
      s.ranges = ranges_of(places, tokens, segments, positions);
      return s;
    }
    MixerState& state = *cx.state;
    const Tensor before = Tensor::dense({batch}, DType::i64);
    Counts pending(places.size(), 0), left(places.size(), 0);
    const DocumentStarts starts(segments);
    int64_t most = 0, fresh = 0;  // block vectors that are there, and that come in
    for (size_t b = 0; !MetaMode::on() && b < places.size(); ++b) {
      Place& p = places[b];
      p.seen = state.seen.data<int64_t>()[b];
      p.done = windows_of(p.seen, windows_);
      p.pending = pending[b] = before.data<int64_t>()[b] = p.seen - p.done * windows_.stride;
      most = std::max(most, p.done);
      fresh = std::max(fresh, windows_of(p.seen + tokens, windows_) - p.done);
      const uint8_t* starting = starts.row(static_cast<int64_t>(b));
      const int64_t begin = document_begin(starting, tokens - 1);
      if (begin > 0 || !continues(starting)) p.begin = begin;
      const int64_t after = p.running(tokens);
      left[b] = after - windows_of(after, windows_) * windows_.stride;
    }
    s.ranges = ranges_of(places, tokens, segments, positions);
    const bool in_place = !Tape::recording() && !segments.defined();
    if (in_place && !MetaMode::on()) o.rows = fresh;
    for (const bool values : {false, true}) {
      Tensor &field = state.fields[kCompressed + values], &raw = state.fields[kRaw + values];
      const Tensor& x = values ? v : k;
      Tensor& all = values ? s.v : s.k;
      Tensor made;
      if (o.rows > 0) made = (values ? compress_v_ : compress_k_)(x, o, {raw, before}, segments);
      all = in_place ? write(made, field, places, tokens) : join(made, field, places, most, tokens);
      raw = keep_tail(raw, x, pending, left);
    }
    return s;
  }

  Tensor write(const Tensor& made, const Tensor& field, const std::vector<Place>& places, int64_t tokens) const {
    const int64_t rows = field.dim(1);
    for (size_t b = 0; made.defined() && !MetaMode::on() && b < places.size(); ++b) {
      const int64_t row = static_cast<int64_t>(b), done = places[b].done * groups_,
                    n = windows_of(places[b].seen + tokens, windows_) * groups_ - done;
      if (n == 0) continue;
      require(done + n <= rows, "nsa: {} block vectors don't fit a state with room for {}", done + n, rows);
      copy(made.row_range(row * made.dim(1), {n, width_}), field.row_range(row * rows + done, {n, width_}));
    }
    return field.untracked();
  }

  // The state's block vectors and the new ones behind them; moves the state's on to the running document's.
  Tensor join(const Tensor& made, Tensor& field, const std::vector<Place>& places, int64_t most, int64_t tokens) const {
    const int64_t batch = field.dim(0), rows = field.dim(1), g = groups_;
    const int64_t all = (MetaMode::on() ? rows : most * g) + made.dim(1);
    const Tensor joint = Tensor::dense({batch, all}, DType::i64), after = Tensor::dense({batch, rows}, DType::i64);
    for (size_t b = 0; !MetaMode::on() && b < places.size(); ++b) {
      const Place& p = places[b];
      const auto source = [&](int64_t row) { return row < p.done * g ? row : rows + row - p.done * g; };
      int64_t* j = joint.data<int64_t>() + static_cast<int64_t>(b) * all;
      for (int64_t row = 0; row < all; ++row) j[row] = row < p.done * g + made.dim(1) ? source(row) : -1;
      const int64_t keep = windows_of(p.running(tokens), windows_) * g;
      const int64_t first = p.begin < 0 ? 0 : (p.done + (p.pending + p.begin) / windows_.stride) * g;
      require(keep <= rows, "nsa: {} block vectors don't fit a state with room for {}", keep, rows);
      int64_t* a = after.data<int64_t>() + static_cast<int64_t>(b) * rows;
      for (int64_t row = 0; row < rows; ++row) a[row] = row < keep ? source(first + row) : -1;
    }
    const Tensor out = splice_rows(field, made, joint);
    field = splice_rows(field, made, after);
    return out;
  }
  SummaryRanges ranges_of(const std::vector<Place>& places, int64_t tokens, const Tensor& segments,
                          const Tensor& positions) const {
    const Shape shape{static_cast<int64_t>(places.size()), tokens};
    const SummaryRanges r{Tensor::dense(shape, DType::i64), Tensor::dense(shape, DType::i64), positions};
    if (MetaMode::on()) return r;
    const DocumentStarts starts(segments);
    for (int64_t b = 0; b < shape[0]; ++b) {
      const Place& p = places[static_cast<size_t>(b)];
      int64_t first = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        if (const uint8_t* s = starts.row(b); s && s[t]) first = p.done + (p.pending + t) / windows_.stride;
        r.first.data<int64_t>()[b * tokens + t] = first;
        r.last.data<int64_t>()[b * tokens + t] =
            first + windows_of(positions.data<int64_t>()[b * tokens + t] + 1, windows_);
      }
    }
    return r;
  }

  int64_t heads_, groups_, width_, window_;
  Linear q_, kv_, gate_, out_;
  Compressor compress_k_, compress_v_;
  KvCache selected_, recent_;
  TokenWindowsOptions windows_;
  CompressedOptions compressed_;
  std::shared_ptr<const RotaryTable> rope_;
};

constexpr std::string_view kVariants[] = {
    "{select_block: 2, select: 4}",
    "{heads: 4, kv_heads: 2, head_dim: 2, select_block: 2, window: 3}",
    "{compress_block: 6, select_block: 2, select: 4, compress_hidden: 5}",
};

}  // namespace

constinit const MixerInfo nsa = describe_mixer<Nsa>({
    .name = "nsa",
    .title = "Native sparse attention",
    .family = "sparse attention",
    .recurrence = "selected attention",
    .paper = "Yuan et al. 2025, arXiv:2502.11089",
    .deviations =
        "init N(0, 0.02) as in GPT-2, that of the block vectors' layers as in PyTorch (the paper gives none); no "
        "RoPE in the compressed branch; the first block, the own and the one before are always selected",
    .tiny = "{heads: 2, kv_heads: 1, compress_block: 4, compress_stride: 2, select_block: 4, select: 3, window: 5, "
            "compress_hidden: 3}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace effllm::mixers

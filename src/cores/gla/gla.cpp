#include "cores/gla/gla.h"

#include <algorithm>

#include "cores/common/heads.h"
#include "cores/gla/gla_head.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kLogDecay, kState0, kSegments };

// The log decays of head h; a constant [H] gives one number.
template <class T>
View<T> decay_of(const Tensor& x, int64_t b, int64_t h, int64_t heads) {
  if (x.defined() && x.shape().rank() == 1) return {x.data<T>() + h, 1, 1, 1};
  return columns_of_head<T>(x, b, h, heads);
}

class GlaOp final : public FloatOp<GlaOp> {
 public:
  explicit GlaOp(const GlaOptions& options) : options_(options) {}
  std::string_view name() const override { return "gla"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &q = in[kQ].shape(), &v = in[kV].shape();
    const int64_t heads = options_.heads;
    const DType type = in[kQ].dtype();
    const int64_t shared = key_heads();
    require(options_.chunk >= 0 && heads >= 1 && shared >= 1 && heads % shared == 0,
            "gla: chunk {}, {} heads and {} key heads: chunk >= 0, heads a multiple of key heads", options_.chunk,
            heads, shared);
    require(q.rank() == 3 && q[1] >= 1 && in[kK].shape() == q && v.rank() == 3 && v[0] == q[0] && v[1] == q[1] &&
                q[2] % shared == 0 && v[2] % heads == 0 && q[2] > 0 && v[2] > 0,
            "gla: q{}, k{}, v{} are not [B, T, {}*dk] twice and [B, T, H*dv] with H = {}", q.str(),
            in[kK].shape().str(), v.str(), shared, heads);
    const Shape state{q[0], heads, q[2] / shared, v[2] / heads};
    const Shape decay{q[0], q[1], heads * decay_columns(state[2])};
    const Tensor& given = in[kLogDecay];
    const bool constant = options_.decay == Decay::scalar && given.shape() == Shape{heads} && given.slot == kUntracked;
    require(options_.decay != Decay::value, "gla: decays are none, scalar or key");
    require(options_.decay == Decay::none ? !given.defined() : constant || given.shape() == decay,
            "gla: log_decay{} for q{} with H = {}, it should be {}", given.shape().str(), q.str(), heads,
            options_.decay == Decay::none ? "undefined" : decay.str());
    require(!in[kState0].defined() || in[kState0].shape() == state, "gla: state0{} for q{} and v{}, it should be {}",
            in[kState0].shape().str(), q.str(), v.str(), state.str());
    require_one_type(name(), in.first(kSegments));
    require_segments(name(), in[kSegments], q[0], q[1]);
    return {{v, type}, {state, type, true}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return state_cost(in.first(kSegments), in[kV], options_.heads, in[kQ].cols() / key_heads(), 4, 12);
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kQ | 1 << kK | 1 << kV | 1 << kLogDecay | 1 << kState0 | 1 << kSegments};
  }

  // Of a head in the hands of each thread: decays, the state that the passes carry, and the states at which a decay's
  // gradient is anchored.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape &q = in[kQ].shape, &v = in[kV].shape;
    const int64_t dk = q[2] / key_heads(), dv = v[2] / options_.heads, tokens = q[1];
    const int64_t heads_at_once = at_once(q[0] * options_.heads);
    int64_t decays = 0, anchors = 0;
    if (options_.decay != Decay::none) {
      decays = (tokens + 1) * decay_columns(dk);
      if (in[kLogDecay].shape.rank() == 3)
        anchors = (tokens / (options_.chunk > 0 ? options_.chunk : kAnchorDistance) + 1) * dk * dv + dk;
    }
    return scratch_of(heads_at_once * decays, heads_at_once * (decays + dk * dv + anchors), in[kQ].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    for_each_head(batch, heads, work(c), [&](int64_t item, int64_t b, int64_t h) {
      const View<T> state = state_of_head<T>(c.out(1), item);
      start_state<T>(state_of_head<T>(c.in(kState0), item), state);
      gla_head_forward<T>(head<T>(c, b, h, starts), columns_of_head<T>(c.out(0), b, h, heads), state.data);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    const Sink dq = c.sink(kQ), dk = c.sink(kK), dv = c.sink(kV), d_decay = c.sink(kLogDecay),
               d_state0 = c.sink(kState0);
    const Tensor d_o = c.whole_grad(0);
    const auto one = [&](int64_t b, int64_t h) {
      const int64_t item = b * heads + h, key_head = h / sharing();
      const bool add = h % sharing() > 0;  // to what the heads before gave to a q and k in common
      const auto rows = [&](const Sink& s) {
        return GradientView<T>{columns_of_head<T>(s.into, b, h, heads), s.accumulate};
      };
      const auto shared = [&](const Sink& s) {
        return GradientView<T>{columns_of_head<T>(s.into, b, key_head, key_heads()), s.accumulate || add};
      };
      GlaHeadGradients<T> g;
      g.d_o = columns_of_head<T>(d_o, b, h, heads);
      g.d_state = state_of_head<T>(c.grad(1), item);
      g.state0 = state_of_head<T>(c.in(kState0), item);
      g.dq = shared(dq);
      g.dk = shared(dk);
      g.dv = rows(dv);
      g.d_log_decay = rows(d_decay);
      g.d_state0 = {state_of_head<T>(d_state0.into, item), d_state0.accumulate};
      gla_head_backward<T>(head<T>(c, b, h, starts), g);
    };
    for_each_head(batch, key_heads(), work(c) * sharing(), [&](int64_t, int64_t b, int64_t key_head) {
      for (int64_t h = key_head * sharing(); h < (key_head + 1) * sharing(); ++h) one(b, h);
    });
  }

 private:
  int64_t key_heads() const { return options_.key_heads > 0 ? options_.key_heads : options_.heads; }
  int64_t sharing() const { return options_.heads / key_heads(); }  // heads to a q and k
  int64_t decay_columns(int64_t dk) const { return options_.decay == Decay::key ? dk : 1; }
  template <class Pass>
  int64_t work(const Pass& c) const {
    return c.in(kQ).dim(1) * (c.in(kQ).cols() / key_heads()) * (c.in(kV).cols() / options_.heads);
  }
  template <class T, class Pass>
  GlaHead<T> head(const Pass& c, int64_t b, int64_t h, const DocumentStarts& starts) const {
    const int64_t heads = options_.heads;
    return {columns_of_head<T>(c.in(kQ), b, h / sharing(), key_heads()),
            columns_of_head<T>(c.in(kK), b, h / sharing(), key_heads()),
            columns_of_head<T>(c.in(kV), b, h, heads),
            decay_of<T>(c.in(kLogDecay), b, h, heads),
            options_.decay,
            options_.exclusive,
            starts.row(b),
            options_.chunk};
  }

  GlaOptions options_;
};

}  // namespace

GlaResult gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state0,
              const Tensor& segments, const GlaOptions& options) {
  return run_to<GlaResult>(std::make_unique<GlaOp>(options), {q, k, v, log_decay, state0, segments});
}

}  // namespace effllm

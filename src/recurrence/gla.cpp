#include "recurrence/gla.h"

#include <algorithm>

#include "autodiff/meter.h"
#include "kernels/parallel.h"
#include "recurrence/gla_head.h"
#include "recurrence/heads.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kLogDecay, kState0, kSegments, kLogValueDecay };

// The log decays of head h; a constant [H] gives one number.
template <class T>
View<T> decay_of(const Tensor& x, int64_t b, int64_t h, int64_t heads) {
  if (x.defined() && x.shape().rank() == 1) return {x.data<T>() + h, 1, 1, 1};
  return columns_of_head<T>(x, b, h, heads);
}
class GlaOp final : public Op {
 public:
  GlaOp(const GlaOptions& options, bool both) : options_(options), both_(both) {}
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
    const Shape decay{q[0], q[1], heads * decay_columns(state)};
    const Tensor& given = in[kLogDecay];
    const bool constant = options_.decay == Decay::scalar && given.shape() == Shape{heads} && given.slot == kUntracked;
    require(options_.decay == Decay::none ? !given.defined() : constant || given.shape() == decay,
            "gla: log_decay{} for q{} with H = {}, it should be {}", given.shape().str(), q.str(), heads,
            options_.decay == Decay::none ? "undefined" : decay.str());
    const Tensor& other = in[kLogValueDecay];
    require(!other.defined() || (options_.decay == Decay::key && other.shape() == v && other.dtype() == type),
            "gla: log_value_decay{} for v{}, of its type and beside a key decay", other.shape().str(), v.str());
    require(!in[kState0].defined() || in[kState0].shape() == state, "gla: state0{} for q{} and v{}, it should be {}",
            in[kState0].shape().str(), q.str(), v.str(), state.str());
    for (int i : {kQ, kK, kV, kLogDecay, kState0}) {
      const Tensor& t = in[static_cast<size_t>(i)];
      require(!t.defined() || (is_float(type) && t.dtype() == type), "gla: inputs of type {} and {}", to_string(type),
              to_string(t.dtype()));
    }
    require_segments(name(), in[kSegments], q[0], q[1]);
    return {{v, type}, {state, type}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const int64_t heads = options_.heads, rows = in[kQ].rows(), dk = in[kQ].cols() / key_heads(),
                  dv = in[kV].cols() / heads;
    const auto products = static_cast<double>(rows * heads * dk * dv);
    int64_t inputs = 0;
    for (int i : {kQ, kK, kV, kLogDecay, kState0, kLogValueDecay})
      if (const Tensor& t = in[static_cast<size_t>(i)]; t.defined()) inputs += t.numel();
    const auto size = static_cast<double>(size_of(in[kQ].dtype())), read = size * static_cast<double>(inputs);
    const double written = size * static_cast<double>(in[kV].numel() + in[kQ].dim(0) * heads * dk * dv);
    return {4 * products, 12 * products, read + written, 2 * read + written};
  }
  Keeps keeps() const override {
    return {
        .inputs = 1 << kQ | 1 << kK | 1 << kV | 1 << kLogDecay | 1 << kState0 | 1 << kSegments | 1 << kLogValueDecay,
        .outputs = options_.decay == Decay::value || both_ ? 1U : 0U};
  }

  // Of a head in the hands of each thread: decays, the state that the passes carry, and the states at which a decay's
  // gradient is anchored.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape &q = in[kQ].shape, &v = in[kV].shape;
    const int64_t dk = q[2] / key_heads(), dv = v[2] / options_.heads, tokens = q[1];
    const int64_t threads_at_work = in_parallel() ? 1 : std::min<int64_t>(q[0] * options_.heads, threads());
    int64_t decays = 0, anchors = 0;
    if (options_.decay != Decay::none) {
      decays = (tokens + 1) * (decay_columns({q[0], options_.heads, dk, dv}) + (both_ ? dv : 0));
      if (in[kLogDecay].shape.rank() == 3)
        anchors = (tokens / (options_.chunk > 0 ? options_.chunk : kAnchorDistance) + 1) * dk * dv + std::max(dk, dv);
    }
    return scratch_of(threads_at_work * decays, threads_at_work * (decays + dk * dv + anchors), in[kQ].dtype);
  }

  void forward(Forward& c) override {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    if (!c.out(1).is_dense()) c.out(1) = Tensor::dense(c.out(1).shape(), c.out(1).dtype());
    dispatch_float(c.in(kQ).dtype(), [&]<class T>() {
      for_each_head(batch, heads, work(c), [&](int64_t item, int64_t b, int64_t h) {
        const View<T> state = state_of_head<T>(c.out(1), item);
        start_state<T>(state_of_head<T>(c.in(kState0), item), state);
        gla_head_forward<T>(head<T>(c, b, h, starts), columns_of_head<T>(c.out(0), b, h, heads), state.data);
      });
    });
  }

  void backward(Backward& c) override {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    const Sink dq = c.sink(kQ), dk = c.sink(kK), dv = c.sink(kV), d_decay = c.sink(kLogDecay),
               d_state0 = c.sink(kState0), d_value_decay = c.sink(kLogValueDecay);
    const Tensor d_o = c.grad(0).defined() ? c.grad(0) : Tensor::zeros(c.out_shape(0), c.dtype());
    dispatch_float(c.dtype(), [&]<class T>() {
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
        if (options_.decay == Decay::value || both_) g.o = columns_of_head<T>(c.out(0), b, h, heads);
        g.d_state = state_of_head<T>(c.grad(1), item);
        g.state0 = state_of_head<T>(c.in(kState0), item);
        g.dq = shared(dq);
        g.dk = shared(dk);
        g.dv = rows(dv);
        g.d_log_decay = rows(d_decay);
        g.d_log_value_decay = rows(d_value_decay);
        g.d_state0 = {state_of_head<T>(d_state0.into, item), d_state0.accumulate};
        gla_head_backward<T>(head<T>(c, b, h, starts), g);
      };
      for_each_head(batch, key_heads(), work(c) * sharing(), [&](int64_t, int64_t b, int64_t key_head) {
        for (int64_t h = key_head * sharing(); h < (key_head + 1) * sharing(); ++h) one(b, h);
      });
    });
  }

  int64_t key_heads() const { return options_.key_heads > 0 ? options_.key_heads : options_.heads; }
  int64_t sharing() const { return options_.heads / key_heads(); }  // heads to a q and k

 private:
  int64_t decay_columns(const Shape& state) const {
    return options_.decay == Decay::key ? state[2] : options_.decay == Decay::value ? state[3] : 1;
  }
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
            options_.chunk,
            columns_of_head<T>(c.in(kLogValueDecay), b, h, heads)};
  }

  GlaOptions options_;
  bool both_;
};

// x [B, n] as [B, 1, n].
Tensor as_token(const Tensor& x) {
  if (!x.defined()) return x;
  require(x.shape().rank() == 2, "gla_step: {} is not [B, n]", x.shape().str());
  return x.reshape({x.dim(0), 1, x.cols()});
}

}  // namespace

GlaResult gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state0,
              const Tensor& segments, const GlaOptions& options, const Tensor& log_value_decay) {
  auto out = run_many(std::make_unique<GlaOp>(options, log_value_decay.defined()),
                      {q, k, v, log_decay, state0, segments, log_value_decay});
  return {std::move(out[0]), std::move(out[1])};
}

Tensor gla_step(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state,
                const GlaOptions& options) {
  const Tensor in[] = {
      as_token(q), as_token(k),
      as_token(v), options.decay == Decay::scalar && log_decay.shape().rank() == 1 ? log_decay : as_token(log_decay),
      state,       Tensor(),
      Tensor()};
  const GlaOp op(options, false);
  op.infer(in);
  require(state.defined(), "gla_step: a state is needed");
  if (Meter* m = Meter::current()) m->count(op, op.cost(in));
  const Tensor o = Tensor::empty(v.shape(), v.dtype()), o_token = as_token(o);
  if (MetaMode::on()) return o;
  const int64_t heads = options.heads, batch = q.dim(0), dk = state.dim(2), key_heads = op.key_heads(),
                sharing = op.sharing();
  const Tensor dense = state.is_dense() ? state : Tensor::dense(state.shape(), state.dtype());
  if (!state.is_dense()) copy(state, dense);
  dispatch_float(q.dtype(), [&]<class T>() {
    Tensor decays;
    if (options.decay != Decay::none) {
      decays = Tensor::empty(in[kLogDecay].shape(), in[kLogDecay].dtype());
      kernels<T>().pointwise(Pointwise::exp, log_decay.view<T>(), decays.view<T>());
    }
    for_each_head(batch, heads, dk * state.cols(), [&](int64_t item, int64_t b, int64_t h) {
      kernels<T>().gla({1, columns_of_head<T>(in[kQ], b, h / sharing, key_heads),
                        columns_of_head<T>(in[kK], b, h / sharing, key_heads), columns_of_head<T>(in[kV], b, h, heads),
                        decay_of<T>(decays, b, h, heads), options.decay, options.exclusive,
                        columns_of_head<T>(o_token, b, h, heads), false, state_of_head<T>(dense, item).data});
    });
  });
  if (!state.is_dense()) copy(dense, state);
  return o;
}

}  // namespace effllm

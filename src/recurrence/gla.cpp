#include "recurrence/gla.h"

#include "autodiff/meter.h"
#include "kernels/parallel.h"
#include "recurrence/gla_head.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kLogDecay, kState0, kSegments };

// Columns of head h in the tokens of sequence b, of x [B, T, H * n]; null data where x is undefined.
template <class T>
View<T> head_of(const Tensor& x, int64_t b, int64_t h, int64_t heads) {
  if (!x.defined()) return {};
  const int64_t tokens = x.dim(1), n = x.cols() / heads;
  return x.view<T>().part(b * tokens, tokens).columns(h * n, n);
}
// The matrix of one head of a state [B, H, dk, dv].
template <class T>
View<T> matrix_of(const Tensor& state, int64_t item) {
  return state.defined() ? state.view<T>().part(item * state.dim(2), state.dim(2)) : View<T>{};
}

// f(item, b, h) for every head of every sequence, so many to a thread's turn that it pays. work: multiplications a
// head.
template <class F>
void for_heads(int64_t batch, int64_t heads, int64_t work, F&& f) {
  constexpr int64_t kWorth = 1 << 16;
  parallel_for(batch * heads, std::max<int64_t>(1, kWorth / work), [&](int64_t from, int64_t to) {
    for (int64_t item = from; item < to; ++item) f(item, item / heads, item % heads);
  });
}

class GlaOp final : public Op {
 public:
  explicit GlaOp(const GlaOptions& options) : options_(options) {}
  std::string_view name() const override { return "gla"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &q = in[kQ].shape(), &v = in[kV].shape();
    const int64_t heads = options_.heads;
    const DType type = in[kQ].dtype();
    require(options_.decay != Decay::value && options_.chunk >= 0 && heads >= 1,
            "gla: the decay is none, scalar or key, chunk >= 0 and heads >= 1");
    require(q.rank() == 3 && q[1] >= 1 && in[kK].shape() == q && v.rank() == 3 && v[0] == q[0] && v[1] == q[1] &&
                q[2] % heads == 0 && v[2] % heads == 0 && q[2] > 0 && v[2] > 0,
            "gla: q{}, k{}, v{} are not [B, T, H*dk] twice and [B, T, H*dv] with H = {}", q.str(), in[kK].shape().str(),
            v.str(), heads);
    const Shape decay{q[0], q[1], options_.decay == Decay::key ? q[2] : heads};
    require(options_.decay == Decay::none ? !in[kLogDecay].defined() : in[kLogDecay].shape() == decay,
            "gla: log_decay{} for q{} with H = {}, it should be {}", in[kLogDecay].shape().str(), q.str(), heads,
            options_.decay == Decay::none ? "undefined" : decay.str());
    const Shape state{q[0], heads, q[2] / heads, v[2] / heads};
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
    const int64_t heads = options_.heads, rows = in[kQ].rows(), dk = in[kQ].cols() / heads, dv = in[kV].cols() / heads;
    const auto products = static_cast<double>(rows * heads * dk * dv);
    int64_t inputs = 0;
    for (int i : {kQ, kK, kV, kLogDecay, kState0})
      if (const Tensor& t = in[static_cast<size_t>(i)]; t.defined()) inputs += t.numel();
    const auto size = static_cast<double>(size_of(in[kQ].dtype())), read = size * static_cast<double>(inputs);
    const double written = size * static_cast<double>(in[kV].numel() + in[kQ].dim(0) * heads * dk * dv);
    return {4 * products, 12 * products, read + written, 2 * read + written};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kQ | 1 << kK | 1 << kV | 1 << kLogDecay | 1 << kState0 | 1 << kSegments};
  }

  void forward(Forward& c) override {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    if (!c.out(1).is_dense()) c.out(1) = Tensor::dense(c.out(1).shape(), c.out(1).dtype());
    dispatch_float(c.in(kQ).dtype(), [&]<class T>() {
      for_heads(batch, heads, work(c), [&](int64_t item, int64_t b, int64_t h) {
        const View<T> state = matrix_of<T>(c.out(1), item), before = matrix_of<T>(c.in(kState0), item);
        for (int64_t r = 0; r < state.rows; ++r)
          before ? std::copy_n(before.row(r), state.cols, state.row(r)) : std::fill_n(state.row(r), state.cols, T(0));
        gla_head_forward<T>(head<T>(c, b, h, starts), head_of<T>(c.out(0), b, h, heads), state.data);
      });
    });
  }

  void backward(Backward& c) override {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    const Sink dq = c.sink(kQ), dk = c.sink(kK), dv = c.sink(kV), d_decay = c.sink(kLogDecay),
               d_state0 = c.sink(kState0);
    const Tensor d_o = c.grad(0).defined() ? c.grad(0) : Tensor::zeros(c.out_shape(0), c.dtype());
    dispatch_float(c.dtype(), [&]<class T>() {
      for_heads(batch, heads, work(c), [&](int64_t item, int64_t b, int64_t h) {
        const auto rows = [&](const Sink& s) { return GradientView<T>{head_of<T>(s.into, b, h, heads), s.accumulate}; };
        GlaHeadGradients<T> g;
        g.d_o = head_of<T>(d_o, b, h, heads);
        g.d_state = matrix_of<T>(c.grad(1), item);
        g.state0 = matrix_of<T>(c.in(kState0), item);
        g.dq = rows(dq);
        g.dk = rows(dk);
        g.dv = rows(dv);
        g.d_log_decay = rows(d_decay);
        g.d_state0 = {matrix_of<T>(d_state0.into, item), d_state0.accumulate};
        gla_head_backward<T>(head<T>(c, b, h, starts), g);
      });
    });
  }

 private:
  template <class Pass>
  int64_t work(const Pass& c) const {
    return c.in(kQ).dim(1) * c.in(kQ).cols() / options_.heads * (c.in(kV).cols() / options_.heads);
  }
  template <class T, class Pass>
  GlaHead<T> head(const Pass& c, int64_t b, int64_t h, const DocumentStarts& starts) const {
    const int64_t heads = options_.heads;
    return {head_of<T>(c.in(kQ), b, h, heads),
            head_of<T>(c.in(kK), b, h, heads),
            head_of<T>(c.in(kV), b, h, heads),
            head_of<T>(c.in(kLogDecay), b, h, heads),
            options_.decay,
            options_.exclusive,
            starts.row(b),
            options_.chunk};
  }

  GlaOptions options_;
};

// x [B, n] as [B, 1, n].
Tensor as_token(const Tensor& x) {
  if (!x.defined()) return x;
  require(x.shape().rank() == 2, "gla_step: {} is not [B, n]", x.shape().str());
  return x.reshape({x.dim(0), 1, x.cols()});
}

}  // namespace

GlaResult gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state0,
              const Tensor& segments, const GlaOptions& options) {
  auto out = run_many(std::make_unique<GlaOp>(options), {q, k, v, log_decay, state0, segments});
  return {std::move(out[0]), std::move(out[1])};
}

Tensor gla_step(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay, const Tensor& state,
                const GlaOptions& options) {
  const Tensor in[] = {as_token(q), as_token(k), as_token(v), as_token(log_decay), state, Tensor()};
  const GlaOp op(options);
  op.infer(in);
  require(state.defined(), "gla_step: a state is needed");
  if (Meter* m = Meter::current()) m->count(op, op.cost(in));
  const Tensor o = Tensor::empty(v.shape(), v.dtype()), o_token = as_token(o);
  if (MetaMode::on()) return o;
  const int64_t heads = options.heads, batch = q.dim(0), dk = state.dim(2);
  const Tensor dense = state.is_dense() ? state : Tensor::dense(state.shape(), state.dtype());
  if (!state.is_dense()) copy(state, dense);
  dispatch_float(q.dtype(), [&]<class T>() {
    Tensor decays;
    if (options.decay != Decay::none) {
      decays = Tensor::empty(in[kLogDecay].shape(), in[kLogDecay].dtype());
      kernels<T>().pointwise(Pointwise::exp, log_decay.view<T>(), decays.view<T>());
    }
    for_heads(batch, heads, dk * state.cols(), [&](int64_t item, int64_t b, int64_t h) {
      kernels<T>().gla({1, head_of<T>(in[kQ], b, h, heads), head_of<T>(in[kK], b, h, heads),
                        head_of<T>(in[kV], b, h, heads), head_of<T>(decays, b, h, heads), options.decay,
                        options.exclusive, head_of<T>(o_token, b, h, heads), false, matrix_of<T>(dense, item).data});
    });
  });
  if (!state.is_dense()) copy(dense, state);
  return o;
}

}  // namespace effllm

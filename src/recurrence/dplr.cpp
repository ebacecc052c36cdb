#include "recurrence/dplr.h"

#include "recurrence/dplr_head.h"
#include "recurrence/heads.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kA, kB, kLogDecay, kState0, kSegments };
enum Output { kO, kState, kHeld };

class DplrOp final : public Op {
 public:
  explicit DplrOp(const DplrOptions& options) : options_(options) {}
  std::string_view name() const override { return "dplr"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &q = in[kQ].shape(), &v = in[kV].shape();
    const int64_t heads = options_.heads;
    const DType type = in[kQ].dtype();
    require(options_.decay != Decay::value && options_.chunk >= 0 && heads >= 1,
            "dplr: the decay is none, scalar or key, chunk >= 0 and heads >= 1");
    require(q.rank() == 3 && q[1] >= 1 && v.rank() == 3 && v[0] == q[0] && v[1] == q[1] && q[2] % heads == 0 &&
                v[2] % heads == 0 && q[2] > 0 && v[2] > 0,
            "dplr: q{}, v{} are not [B, T, H*dk] and [B, T, H*dv] with H = {}", q.str(), v.str(), heads);
    for (int i : {kK, kA, kB})
      require(in[static_cast<size_t>(i)].shape() == q, "dplr: k{}, a{}, b{} for q{}, they should be the same",
              in[kK].shape().str(), in[kA].shape().str(), in[kB].shape().str(), q.str());
    const Shape decay{q[0], q[1], options_.decay == Decay::key ? q[2] : heads};
    require(options_.decay == Decay::none ? !in[kLogDecay].defined() : in[kLogDecay].shape() == decay,
            "dplr: log_decay{} for q{} with H = {}, it should be {}", in[kLogDecay].shape().str(), q.str(), heads,
            options_.decay == Decay::none ? "undefined" : decay.str());
    const Shape state{q[0], heads, q[2] / heads, v[2] / heads};
    require(!in[kState0].defined() || in[kState0].shape() == state, "dplr: state0{} for q{} and v{}, it should be {}",
            in[kState0].shape().str(), q.str(), v.str(), state.str());
    for (int i : {kQ, kK, kV, kA, kB, kLogDecay, kState0}) {
      const Tensor& t = in[static_cast<size_t>(i)];
      require(!t.defined() || (is_float(type) && t.dtype() == type), "dplr: inputs of type {} and {}", to_string(type),
              to_string(t.dtype()));
    }
    require_segments(name(), in[kSegments], q[0], q[1]);
    return {{{v, type}, {state, type}, {v, type}}, 1};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const int64_t heads = options_.heads, rows = in[kQ].rows(), dk = in[kQ].cols() / heads, dv = in[kV].cols() / heads;
    const auto products = static_cast<double>(rows * heads * dk * dv);
    int64_t inputs = 0;
    for (int i : {kQ, kK, kV, kA, kB, kLogDecay, kState0})
      if (const Tensor& t = in[static_cast<size_t>(i)]; t.defined()) inputs += t.numel();
    const auto size = static_cast<double>(size_of(in[kQ].dtype())), read = size * static_cast<double>(inputs);
    const double written = size * static_cast<double>(in[kV].numel() + in[kQ].dim(0) * heads * dk * dv);
    return {8 * products, 24 * products, read + written, 2 * read + written};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kQ | 1 << kK | 1 << kV | 1 << kA | 1 << kB | 1 << kLogDecay | 1 << kState0 | 1 << kSegments,
            .outputs = 1 << kHeld};
  }

  void forward(Forward& c) override {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    if (!c.out(kState).is_dense()) c.out(kState) = Tensor::dense(c.out(kState).shape(), c.out(kState).dtype());
    dispatch_float(c.in(kQ).dtype(), [&]<class T>() {
      for_each_head(batch, heads, work(c), [&](int64_t item, int64_t sequence, int64_t h) {
        const View<T> state = state_of_head<T>(c.out(kState), item);
        start_state<T>(state_of_head<T>(c.in(kState0), item), state);
        const View<T> r = c.recording() ? columns_of_head<T>(c.out(kHeld), sequence, h, heads) : View<T>{};
        dplr_head_forward<T>(head<T>(c, sequence, h, starts), columns_of_head<T>(c.out(kO), sequence, h, heads), r,
                             state.data);
      });
    });
  }

  void backward(Backward& c) override {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    const Sink dq = c.sink(kQ), dk = c.sink(kK), dv = c.sink(kV), da = c.sink(kA), db = c.sink(kB),
               d_decay = c.sink(kLogDecay), d_state0 = c.sink(kState0);
    const Tensor d_o = c.grad(kO).defined() ? c.grad(kO) : Tensor::zeros(c.out_shape(kO), c.dtype());
    dispatch_float(c.dtype(), [&]<class T>() {
      for_each_head(batch, heads, work(c), [&](int64_t item, int64_t sequence, int64_t h) {
        const auto rows = [&](const Sink& s) {
          return GradientView<T>{columns_of_head<T>(s.into, sequence, h, heads), s.accumulate};
        };
        DplrHeadGradients<T> g;
        g.r = columns_of_head<T>(c.out(kHeld), sequence, h, heads);
        g.d_o = columns_of_head<T>(d_o, sequence, h, heads);
        g.d_state = state_of_head<T>(c.grad(kState), item);
        g.state0 = state_of_head<T>(c.in(kState0), item);
        g.dq = rows(dq);
        g.dk = rows(dk);
        g.dv = rows(dv);
        g.da = rows(da);
        g.db = rows(db);
        g.d_log_decay = rows(d_decay);
        g.d_state0 = {state_of_head<T>(d_state0.into, item), d_state0.accumulate};
        dplr_head_backward<T>(head<T>(c, sequence, h, starts), g);
      });
    });
  }

 private:
  template <class Pass>
  int64_t work(const Pass& c) const {
    return c.in(kQ).dim(1) * c.in(kQ).cols() / options_.heads * (c.in(kV).cols() / options_.heads);
  }
  template <class T, class Pass>
  DplrHead<T> head(const Pass& c, int64_t b, int64_t h, const DocumentStarts& starts) const {
    const auto rows = [&](int i) { return columns_of_head<T>(c.in(i), b, h, options_.heads); };
    return {rows(kQ),        rows(kK),       rows(kV),      rows(kA),      rows(kB),
            rows(kLogDecay), options_.decay, starts.row(b), options_.chunk};
  }

  DplrOptions options_;
};

}  // namespace

DplrResult dplr(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& a, const Tensor& b,
                const Tensor& log_decay, const Tensor& state0, const Tensor& segments, const DplrOptions& options) {
  auto out = run_many(std::make_unique<DplrOp>(options), {q, k, v, a, b, log_decay, state0, segments});
  return {std::move(out[0]), std::move(out[1])};
}

}  // namespace effllm

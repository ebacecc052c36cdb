#include "cores/delta/delta.h"

#include "cores/common/heads.h"
#include "cores/delta/delta_head.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kBeta, kLogDecay, kState0, kSegments };
enum Output { kO, kState, kError };

class DeltaOp final : public FloatOp<DeltaOp> {
 public:
  explicit DeltaOp(const DeltaOptions& options) : options_(options) {}
  std::string_view name() const override { return "delta"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &q = in[kQ].shape(), &v = in[kV].shape();
    const int64_t heads = options_.heads;
    const DType type = in[kQ].dtype();
    require(options_.chunk >= 0 && heads >= 1, "delta: chunk >= 0 and heads >= 1");
    require(q.rank() == 3 && q[1] >= 1 && in[kK].shape() == q && v.rank() == 3 && v[0] == q[0] && v[1] == q[1] &&
                q[2] % heads == 0 && v[2] % heads == 0 && q[2] > 0 && v[2] > 0,
            "delta: q{}, k{}, v{} are not [B, T, H*dk] twice and [B, T, H*dv] with H = {}", q.str(),
            in[kK].shape().str(), v.str(), heads);
    const Shape gate{q[0], q[1], heads};
    require(in[kBeta].defined() && in[kBeta].shape() == gate, "delta: beta{} for q{}, it should be {}",
            in[kBeta].shape().str(), q.str(), gate.str());
    require(!in[kLogDecay].defined() || in[kLogDecay].shape() == gate, "delta: log_decay{} for q{}, it should be {}",
            in[kLogDecay].shape().str(), q.str(), gate.str());
    const Shape state{q[0], heads, q[2] / heads, v[2] / heads};
    require(!in[kState0].defined() || in[kState0].shape() == state, "delta: state0{} for q{} and v{}, it should be {}",
            in[kState0].shape().str(), q.str(), v.str(), state.str());
    require_one_type(name(), in.first(kSegments));
    require_segments(name(), in[kSegments], q[0], q[1]);
    return {{{v, type}, {state, type, true}, {v, type}}, 1};
  }
  Cost cost(std::span<const Tensor> in) const override {
    return state_cost(in.first(kSegments), in[kV], options_.heads, in[kQ].cols() / options_.heads, 6, 18);
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kQ | 1 << kK | 1 << kV | 1 << kBeta | 1 << kLogDecay | 1 << kState0 | 1 << kSegments,
            .outputs = 1 << kError};
  }

  template <class T>
  void forward_in(Forward& c) {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    for_each_head(batch, heads, work(c), [&](int64_t item, int64_t b, int64_t h) {
      const View<T> state = state_of_head<T>(c.out(kState), item);
      start_state<T>(state_of_head<T>(c.in(kState0), item), state);
      const View<T> e = c.recording() ? columns_of_head<T>(c.out(kError), b, h, heads) : View<T>{};
      delta_head_forward<T>(head<T>(c, b, h, starts), columns_of_head<T>(c.out(kO), b, h, heads), e, state.data);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads;
    const DocumentStarts starts(c.in(kSegments));
    const Sink dq = c.sink(kQ), dk = c.sink(kK), dv = c.sink(kV), d_beta = c.sink(kBeta), d_decay = c.sink(kLogDecay),
               d_state0 = c.sink(kState0);
    const Tensor d_o = c.whole_grad(kO);
    for_each_head(batch, heads, work(c), [&](int64_t item, int64_t b, int64_t h) {
      const auto rows = [&](const Sink& s) {
        return GradientView<T>{columns_of_head<T>(s.into, b, h, heads), s.accumulate};
      };
      DeltaHeadGradients<T> g;
      g.e = columns_of_head<T>(c.out(kError), b, h, heads);
      g.d_o = columns_of_head<T>(d_o, b, h, heads);
      g.d_state = state_of_head<T>(c.grad(kState), item);
      g.state0 = state_of_head<T>(c.in(kState0), item);
      g.dq = rows(dq);
      g.dk = rows(dk);
      g.dv = rows(dv);
      g.d_beta = rows(d_beta);
      g.d_log_decay = rows(d_decay);
      g.d_state0 = {state_of_head<T>(d_state0.into, item), d_state0.accumulate};
      delta_head_backward<T>(head<T>(c, b, h, starts), g);
    });
  }

 private:
  template <class Pass>
  int64_t work(const Pass& c) const {
    return c.in(kQ).dim(1) * c.in(kQ).cols() / options_.heads * (c.in(kV).cols() / options_.heads);
  }
  template <class T, class Pass>
  DeltaHead<T> head(const Pass& c, int64_t b, int64_t h, const DocumentStarts& starts) const {
    const auto rows = [&](int i) { return columns_of_head<T>(c.in(i), b, h, options_.heads); };
    return {rows(kQ), rows(kK), rows(kV), rows(kBeta), rows(kLogDecay), starts.row(b), options_.chunk};
  }

  DeltaOptions options_;
};

}  // namespace

DeltaResult delta(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& beta, const Tensor& log_decay,
                  const Tensor& state0, const Tensor& segments, const DeltaOptions& options) {
  return run_to<DeltaResult>(std::make_unique<DeltaOp>(options), {q, k, v, beta, log_decay, state0, segments});
}

}  // namespace effllm

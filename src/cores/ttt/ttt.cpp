#include "cores/ttt/ttt.h"

#include "cores/common/heads.h"
#include "cores/scan/column_blocks.h"
#include "cores/ttt/ttt_head.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

enum Input { kQ, kK, kV, kEta, kTau, kWeight, kBias, kW0, kB0, kW, kB, kSumW, kSumB, kPositions, kInputs };
enum Output { kO, kWAfter, kBAfter, kSumWAfter, kSumBAfter, kZ, kRead };

// The item-th matrix of [.., n, n].
template <class T>
View<T> matrix_of(const Tensor& x, int64_t item) {
  return x.defined() ? x.view<T>().part(item * x.cols(), x.cols()) : View<T>{};
}
// Columns of head h in row r of [.., H * n].
template <class T>
View<T> vector_of(const Tensor& x, int64_t r, int64_t h, int64_t heads) {
  const int64_t n = x.cols() / heads;
  return x.defined() ? x.view<T>().part(r, 1).columns(h * n, n) : View<T>{};
}
// Tensors are looked at, never copied, on threads that don't own them. Element: T, or const T.
template <class T, class Element = T>
TttMemory<Element> memory_of(const Tensor& w, const Tensor& b, const Tensor& sum_w, const Tensor& sum_b,
                             int64_t sequence, int64_t h, int64_t heads) {
  const int64_t item = sequence * heads + h;
  return {matrix_of<T>(w, item), matrix_of<T>(sum_w, item), vector_of<T>(b, sequence, h, heads),
          vector_of<T>(sum_b, sequence, h, heads)};
}

class TttOp final : public FloatOp<TttOp> {
 public:
  explicit TttOp(const TttOptions& options) : options_(options) {}
  std::string_view name() const override { return "ttt"; }

  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& q = in[kQ].shape();
    const int64_t heads = options_.heads;
    const DType type = in[kQ].dtype();
    require(heads >= 1 && q.rank() == 3 && q[1] >= 1 && q[2] > 0 && q[2] % heads == 0 && in[kK].shape() == q &&
                in[kV].shape() == q,
            "ttt: q{}, k{}, v{} are not [B, T, H*n] three times with H = {}", q.str(), in[kK].shape().str(),
            in[kV].shape().str(), heads);
    const Shape eta{q[0], q[1], heads}, columns{q[2]}, rows{q[0], q[2]}, model{heads, q[2] / heads, q[2] / heads},
        matrices = model.with_first(q[0]);
    require(in[kTau].shape().rank() == 1 && in[kTau].numel() >= 1, "ttt: token_scale{} is not [M]",
            in[kTau].shape().str());
    const auto check = [&](int i, const char* what, const Shape& shape) {
      require(in[static_cast<size_t>(i)].shape() == shape, "ttt: {}{} for q{}, it should be {}", what,
              in[static_cast<size_t>(i)].shape().str(), q.str(), shape.str());
    };
    check(kEta, "eta", eta);
    check(kWeight, "weight", columns);
    check(kBias, "bias", columns);
    check(kW0, "w0", model);
    check(kB0, "b0", columns);
    if (in[kW].defined() || in[kB].defined() || in[kSumW].defined() || in[kSumB].defined()) {
      check(kW, "state w", matrices);
      check(kB, "state b", rows);
      check(kSumW, "state sum_w", matrices);
      check(kSumB, "state sum_b", rows);
    }
    require_one_type(name(), in.first(kPositions));
    require(!in[kPositions].defined() || (in[kPositions].dtype() == DType::i64 && in[kPositions].is_dense() &&
                                          in[kPositions].shape() == Shape{q[0], q[1]}),
            "ttt: positions{} for q{}", in[kPositions].shape().str(), q.str());
    Outputs out({{q, type}, {matrices, type}, {rows, type}, {matrices, type}, {rows, type}, {q, type}, {q, type}});
    out.hidden = 2;
    return out;
  }

  // Forward: q W_0, k W_0 and k^T a, of n x n a token; the scores and what they weigh, half a mini-batch each.
  // Backward: four products by n x n for the gradients of q and k, two for W_0's, one for the model at every start
  // again; and five over pairs of tokens.
  Cost cost(std::span<const Tensor> in) const override {
    const auto elements = numbers(in[kQ]), n = static_cast<double>(in[kQ].cols() / options_.heads),
               pairs = static_cast<double>(in[kTau].numel() + 1) / 2;
    double inputs = 0;
    for (const Tensor& t : in)
      if (t.defined()) inputs += static_cast<double>(t.bytes());
    const double forward = elements * (6 * n + 4 * pairs), backward = elements * (14 * n + 10 * pairs),
                 state = static_cast<double>(in[kW0].bytes()) * static_cast<double>(in[kQ].dim(0)),
                 size = static_cast<double>(in[kQ].bytes());
    return {forward, backward, inputs + 3 * size + 2 * state, 2 * inputs + 3 * size + 2 * state, forward};
  }
  Keeps keeps() const override { return {.inputs = (1 << kInputs) - 1, .outputs = 1 << kZ | 1 << kRead}; }

  template <class T>
  void forward_in(Forward& c) {
    for_each_head(c.in(kQ).dim(0), options_.heads, work(c), [&](int64_t, int64_t b, int64_t h) {
      const int64_t heads = options_.heads;
      ttt_head_forward<T>(
          head<T>(c, b, h),
          memory_of<T>(c.out(kWAfter), c.out(kBAfter), c.out(kSumWAfter), c.out(kSumBAfter), b, h, heads),
          columns_of_head<T>(c.out(kO), b, h, heads),
          c.recording() ? columns_of_head<T>(c.out(kZ), b, h, heads) : View<T>{},
          c.recording() ? columns_of_head<T>(c.out(kRead), b, h, heads) : View<T>{});
    });
  }

  // Backwards the gradients of states and of what sequences share; of a head its state before every mini-batch, its
  // steps and some rows.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape& q = in[kQ].shape;
    const int64_t heads = options_.heads, n = q[2] / heads, mini_batch = in[kTau].shape.numel(),
                  rows = std::min(mini_batch, q[1]);
    const int64_t shared = q[0] * heads * (3 * n * n + 5 * n + mini_batch);
    const int64_t head = (q[1] / mini_batch + 1) * n * n + q[1] * n + rows * (8 * n + 5 * rows + 3);
    return scratch_of(4 * rows * n + 2 * rows * rows, shared + head, in[kQ].dtype);
  }

  template <class T>
  void backward_in(Backward& c) {
    const int64_t batch = c.in(kQ).dim(0), heads = options_.heads, n = c.in(kQ).cols() / heads;
    const DType type = c.dtype();
    const Sink dq = c.sink(kQ), dk = c.sink(kK), dv = c.sink(kV), d_eta = c.sink(kEta);
    const Tensor d_o = c.whole_grad(kO);
    const TttState d_before{Tensor::empty(c.out_shape(kWAfter), type), Tensor::empty(c.out_shape(kBAfter), type),
                            Tensor::empty(c.out_shape(kSumWAfter), type), Tensor::empty(c.out_shape(kSumBAfter), type)};
    // What sequences share, first apart: [B, ...].
    const Tensor d_tau = Tensor::zeros({batch, heads, c.in(kTau).numel()}, type),
                 d_weight = Tensor::zeros({batch, heads * n}, type), d_bias = Tensor::zeros({batch, heads * n}, type),
                 d_b0 = Tensor::zeros({batch, heads * n}, type), d_w0 = Tensor::zeros(c.out_shape(kWAfter), type);
    for_each_head(c.in(kQ).dim(0), options_.heads, work(c), [&](int64_t, int64_t b, int64_t h) {
      const auto rows = [&](const Sink& s) {
        return GradientView<T>{columns_of_head<T>(s.into, b, h, heads), s.accumulate};
      };
      TttHeadGradients<T> g;
      g.z = columns_of_head<T>(c.out(kZ), b, h, heads);
      g.read = columns_of_head<T>(c.out(kRead), b, h, heads);
      g.d_o = columns_of_head<T>(d_o, b, h, heads);
      g.d_after =
          memory_of<T, const T>(c.grad(kWAfter), c.grad(kBAfter), c.grad(kSumWAfter), c.grad(kSumBAfter), b, h, heads);
      g.dq = rows(dq);
      g.dk = rows(dk);
      g.dv = rows(dv);
      g.d_eta = rows(d_eta);
      g.d_before = memory_of<T>(d_before.w, d_before.b, d_before.sum_w, d_before.sum_b, b, h, heads);
      g.d_tau = d_tau.view<T>().row(b * heads + h);
      g.d_weight = vector_of<T>(d_weight, b, h, heads).data;
      g.d_bias = vector_of<T>(d_bias, b, h, heads).data;
      g.d_w0 = matrix_of<T>(d_w0, b * heads + h);
      g.d_b0 = vector_of<T>(d_b0, b, h, heads);
      ttt_head_backward<T>(head<T>(c, b, h), g);
    });
    give_sum<T>(c, kTau, d_tau);
    give_sum<T>(c, kWeight, d_weight);
    give_sum<T>(c, kBias, d_bias);
    give_sum<T>(c, kW0, d_w0);
    give_sum<T>(c, kB0, d_b0);
    const Tensor* before[] = {&d_before.w, &d_before.b, &d_before.sum_w, &d_before.sum_b};
    for (int i = 0; i < 4; ++i)
      if (c.wants(kW + i)) c.give(kW + i, *before[i]);
  }

 private:
  template <class Pass>
  int64_t work(const Pass& c) const {
    const int64_t n = c.in(kQ).cols() / options_.heads;
    return 3 * c.in(kQ).dim(1) * n * n;
  }
  template <class T, class Pass>
  TttHead<T> head(const Pass& c, int64_t b, int64_t h) const {
    const int64_t heads = options_.heads;
    const auto rows = [&](int i) { return View<const T>(columns_of_head<T>(c.in(i), b, h, heads)); };
    return {rows(kQ),
            rows(kK),
            rows(kV),
            rows(kEta),
            c.in(kTau).template data<T>(),
            c.in(kTau).numel(),
            vector_of<T>(c.in(kWeight), 0, h, heads).data,
            vector_of<T>(c.in(kBias), 0, h, heads).data,
            matrix_of<T>(c.in(kW0), h),
            vector_of<T>(c.in(kB0), 0, h, heads),
            memory_of<T, const T>(c.in(kW), c.in(kB), c.in(kSumW), c.in(kSumB), b, h, heads),
            c.in(kPositions).defined() ? c.in(kPositions).template data<int64_t>() + b * c.in(kQ).dim(1) : nullptr,
            static_cast<T>(options_.eps)};
  }
  // The sum over parts [B, ...] in order; of kTau over heads too.
  template <class T>
  static void give_sum(Backward& c, int input, const Tensor& parts) {
    if (!c.wants(input)) return;
    const Tensor sum = Tensor::empty(c.in_shape(input), c.dtype());
    add_parts<T>(parts, {sum, false});
    c.give(input, sum);
  }

  TttOptions options_;
};

}  // namespace

TttResult ttt(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& eta, const TttModel& model,
              const TttState& before, const Tensor& positions, const TttOptions& options) {
  auto out =
      run_many(std::make_unique<TttOp>(options), {q, k, v, eta, model.token_scale, model.weight, model.bias, model.w0,
                                                  model.b0, before.w, before.b, before.sum_w, before.sum_b, positions});
  return {std::move(out[0]), {std::move(out[1]), std::move(out[2]), std::move(out[3]), std::move(out[4])}};
}

}  // namespace effllm

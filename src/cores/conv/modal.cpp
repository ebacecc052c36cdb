#include "cores/conv/modal.h"

#include <complex>

#include "cores/scan/column_blocks.h"
#include "kernels/fourier.h"
#include "kernels/modal.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

using Number = std::complex<double>;

Number over(Number x, Number y) { return x * std::conj(y) / std::norm(y); }  // no number here is near the limits

void require_modes(std::string_view op, const Tensor& w, const Tensor& e, const Tensor& skip) {
  require(w.shape().rank() == 2 && w.dim(0) >= 2 && w.dim(0) % 2 == 0 && w.dim(1) >= 1 && e.shape() == w.shape() &&
              is_float(w.dtype()) && e.dtype() == w.dtype(),
          "{}: decays{} and reads{} are not two [2P, C] of one float type", op, w.shape().str(), e.shape().str());
  require(!skip.defined() || (skip.shape() == Shape{w.dim(1)} && skip.dtype() == w.dtype()),
          "{}: skip{} for {} channels", op, skip.shape().str(), w.dim(1));
}

class ModesOp final : public FloatOp<ModesOp> {
  enum Input { kLogDt, kC, kLogA, kAngle };
  enum Output { kDecay, kRead, kHold };  // kHold: (w - 1) / A, for backward

 public:
  std::string_view name() const override { return "modes"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &a = in[kLogA].shape(), &c = in[kC].shape();
    const DType type = in[kLogA].dtype();
    require_one_type(name(), in);
    require(a.rank() == 2 && a[0] >= 1 && a[1] >= 1 && in[kAngle].shape() == a && in[kLogDt].shape() == Shape{a[0]} &&
                c == Shape{a[0], 2 * a[1]},
            "modes: log_dt{}, c{}, log_a_real{}, a_imag{} are not [C], [C, 2P], [C, P] twice", in[kLogDt].shape().str(),
            c.str(), a.str(), in[kAngle].shape().str());
    const TensorSpec out{{2 * a[1], a[0]}, type};
    return {{out, out, out}, 1};
  }
  Cost cost(std::span<const Tensor> in) const override {  // exponentials, a sine and a cosine: 8 each
    const auto n = numbers(in[kLogA]), size = bytes_of_number(in[kLogA]);
    return {60 * n, 60 * n, 8 * n * size, 12 * n * size};
  }
  Keeps keeps() const override { return {.inputs = 15, .outputs = 1 << kDecay | 1 << kHold}; }

  template <class T>
  void forward_in(Forward& c) {
    const int64_t pairs = c.in(kLogA).dim(1);
    each(c, [&](int64_t k, int64_t p, double dt, Number a) {
      // e^z - 1 without cancellation near 0: cos y - 1 = -2 sin^2 (y / 2).
      const double half = dt * a.imag() / 2, sine = std::sin(half), cosine = std::cos(half);
      const double grow = std::expm1(dt * a.real()), less = -2 * sine * sine;
      const Number minus_one{grow + less + grow * less, (1 + grow) * 2 * sine * cosine};
      const Number hold = over(minus_one, a);
      const Number read = 2.0 * Number(get<T>(c.in(kC), k, 2 * p), get<T>(c.in(kC), k, 2 * p + 1)) * hold;
      put<T>(c.out(kDecay), p, pairs, k, minus_one + 1.0);
      put<T>(c.out(kRead), p, pairs, k, read);
      if (c.recording()) put<T>(c.out(kHold), p, pairs, k, hold);
    });
  }

  // Gradients of a real loss in x = f(z): that of z is that of x times conj(f').
  template <class T>
  void backward_in(Backward& c) {
    const int64_t pairs = c.in(kLogA).dim(1);
    const Sink sinks[] = {c.sink(kLogDt), c.sink(kC), c.sink(kLogA), c.sink(kAngle)};
    const Tensor to_dt = Tensor::zeros(c.in(kLogDt).shape(), DType::f64);
    const auto add = [&](int which, int64_t row, int64_t column, double g) {
      const Sink& s = sinks[which];
      if (!s.into.defined()) return;
      T& x = s.into.view<T>().row(row)[column];
      x = static_cast<T>((s.accumulate ? static_cast<double>(x) : 0) + g);
    };
    each(c, [&](int64_t k, int64_t p, double dt, Number a) {
      const Number w = number<T>(c.out(kDecay), p, pairs, k), hold = number<T>(c.out(kHold), p, pairs, k);
      const Number read(get<T>(c.in(kC), k, 2 * p), get<T>(c.in(kC), k, 2 * p + 1));
      const Number to_read = c.grad(1).defined() ? 2.0 * number<T>(c.grad(1), p, pairs, k) : 0.0;
      Number to_w = c.grad(0).defined() ? number<T>(c.grad(0), p, pairs, k) : 0.0;
      const Number to_c = to_read * std::conj(hold), to_hold = over(to_read * std::conj(read), std::conj(a));
      to_w += to_hold;
      const Number to_z = to_w * std::conj(w), to_a = to_z * dt - to_hold * std::conj(hold);
      add(kC, k, 2 * p, to_c.real());
      add(kC, k, 2 * p + 1, to_c.imag());
      add(kLogA, k, p, to_a.real() * a.real());
      add(kAngle, k, p, to_a.imag());
      to_dt.data<double>()[k] += dt * (to_z * std::conj(a)).real();
    });
    for (int64_t k = 0; k < to_dt.numel(); ++k) add(kLogDt, 0, k, to_dt.data<double>()[k]);
  }

 private:
  template <class T>
  static double get(const Tensor& t, int64_t row, int64_t column) {
    return static_cast<double>(t.view<T>().row(row)[column]);
  }
  template <class T>
  static Number number(const Tensor& t, int64_t p, int64_t pairs, int64_t k) {
    return {get<T>(t, p, k), get<T>(t, pairs + p, k)};
  }
  template <class T>
  static void put(const Tensor& t, int64_t p, int64_t pairs, int64_t k, Number x) {
    t.view<T>().row(p)[k] = static_cast<T>(x.real());
    t.view<T>().row(pairs + p)[k] = static_cast<T>(x.imag());
  }
  // f(channel, mode, dt, A)
  template <class Pass, class F>
  static void each(const Pass& c, F&& f) {
    dispatch_float(c.in(kLogA).dtype(), [&]<class T>() {
      for (int64_t k = 0; k < c.in(kLogA).dim(0); ++k) {
        const double dt = std::exp(static_cast<double>(c.in(kLogDt).template view<T>().data[k]));
        for (int64_t p = 0; p < c.in(kLogA).dim(1); ++p)
          f(k, p, dt, Number(-std::exp(get<T>(c.in(kLogA), k, p)), get<T>(c.in(kAngle), k, p)));
      }
    });
  }
};

class ModalKernelOp final : public FloatOp<ModalKernelOp> {
  enum Input { kDecay, kRead, kSkip };

 public:
  explicit ModalKernelOp(int64_t tokens) : tokens_(tokens) {}
  std::string_view name() const override { return "modal_kernel"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require_modes(name(), in[kDecay], in[kRead], in[kSkip]);
    require(tokens_ >= 1, "modal_kernel: {} tokens", tokens_);
    return {{{tokens_, in[kDecay].dim(1)}, in[kDecay].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = numbers(in[kDecay]), size = bytes_of_number(in[kDecay]);
    const auto tokens = static_cast<double>(tokens_), rows = static_cast<double>(in[kDecay].dim(1)) * tokens;
    return {2 * n * tokens, 4 * n * tokens, size * (2 * n + rows), size * (4 * n + rows)};
  }
  Keeps keeps() const override { return {.inputs = 1 << kDecay | 1 << kRead}; }

  // Of a group of columns, and in backward both gradients before they are added to what is there.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape& decay = in[kDecay].shape;
    const int64_t group = kernel::modal_kernel_scratch<float>(decay[0] / 2, tokens_);
    return scratch_of(group, group + 2 * decay.numel(), in[kDecay].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    for_groups<T>(c.in(kDecay), [&](int64_t from, int64_t n, T* scratch) {
      const View<T> k = c.out(0).view<T>().columns(from, n);
      kernel::modal_kernel<T>(columns<T>(c.in(kDecay), from, n), columns<T>(c.in(kRead), from, n), k, scratch);
      if (!c.in(kSkip).defined()) return;
      for (int64_t i = 0; i < n; ++i) k.data[i] += c.in(kSkip).view<T>().data[from + i];
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    const Sink d_w = c.sink(kDecay), d_e = c.sink(kRead), d_skip = c.sink(kSkip);
    const Tensor w = Tensor::empty(c.in(kDecay).shape(), c.dtype()), e = Tensor::empty(w.shape(), c.dtype());
    for_groups<T>(c.in(kDecay), [&](int64_t from, int64_t n, T* scratch) {
      kernel::modal_kernel_backward<T>(columns<T>(c.in(kDecay), from, n), columns<T>(c.in(kRead), from, n),
                                       columns<T>(c.grad(0), from, n), columns<T>(w, from, n), columns<T>(e, from, n),
                                       scratch);
    });
    if (d_w) kernel::scale<T>(T(1), w.view<T>(), d_w.view<T>(), d_w.accumulate);
    if (d_e) kernel::scale<T>(T(1), e.view<T>(), d_e.view<T>(), d_e.accumulate);
    if (d_skip) kernel::scale<T>(T(1), c.grad(0).view<T>().part(0, 1), d_skip.view<T>(), d_skip.accumulate);
  }

 private:
  template <class T>
  static View<T> columns(const Tensor& t, int64_t from, int64_t n) {
    return t.view<T>().columns(from, n);
  }
  template <class T, class F>
  void for_groups(const Tensor& decay, F&& f) {
    const int64_t all = decay.dim(1), lanes = kernel::lanes<T>(), pairs = decay.dim(0) / 2;
    parallel_for((all + lanes - 1) / lanes, 1 + (1 << 13) / (tokens_ * pairs + 1), [&](int64_t first, int64_t last) {
      const Tensor scratch = Tensor::dense({kernel::modal_kernel_scratch<T>(pairs, tokens_)}, dtype_of<T>);
      for (int64_t g = first; g < last; ++g) f(g * lanes, std::min(lanes, all - g * lanes), scratch.data<T>());
    });
  }
  int64_t tokens_;
};

}  // namespace

Modes modes(const Tensor& log_dt, const Tensor& c, const Tensor& log_a_real, const Tensor& a_imag) {
  return run_to<Modes>(std::make_unique<ModesOp>(), {log_dt, c, log_a_real, a_imag});
}

Tensor modal_kernel(const Modes& m, const Tensor& skip, int64_t tokens) {
  return run(std::make_unique<ModalKernelOp>(tokens), {m.decay, m.read, skip});
}

}  // namespace effllm

#include <doctest/doctest.h>

#include "kernels/pointwise.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double normal_density(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI); }
double gelu_tanh_inner(double x) { return std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x); }

struct Function {
  Pointwise kind;
  double (*f)(double);
  double (*df)(double);
};
constexpr Function kFunctions[] = {
    {Pointwise::sigmoid, logistic, [](double x) { return logistic(x) * logistic(-x); }},
    {Pointwise::tanh, [](double x) { return std::tanh(x); }, [](double x) { return std::pow(std::cosh(x), -2); }},
    {Pointwise::relu, [](double x) { return x > 0 ? x : 0; }, [](double x) { return x > 0 ? 1.0 : 0; }},
    {Pointwise::relu2, [](double x) { return x > 0 ? x * x : 0; }, [](double x) { return x > 0 ? 2 * x : 0; }},
    {Pointwise::silu, [](double x) { return x * logistic(x); },
     [](double x) { return logistic(x) + x * logistic(x) * logistic(-x); }},
    {Pointwise::gelu, [](double x) { return 0.5 * x * std::erfc(-x * M_SQRT1_2); },
     [](double x) { return 0.5 * std::erfc(-x * M_SQRT1_2) + x * normal_density(x); }},
    {Pointwise::gelu_tanh, [](double x) { return 0.5 * x * (1 + std::tanh(gelu_tanh_inner(x))); },
     [](double x) {
       const double t = std::tanh(gelu_tanh_inner(x));
       return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
     }},
    {Pointwise::softplus, [](double x) { return std::log1p(std::exp(x)); }, logistic},
    {Pointwise::log_sigmoid, [](double x) { return -std::log1p(std::exp(-x)); }, [](double x) { return logistic(-x); }},
    {Pointwise::exp, [](double x) { return std::exp(x); }, [](double x) { return std::exp(x); }},
    {Pointwise::elu1, [](double x) { return x > 0 ? x + 1 : std::exp(x); },
     [](double x) { return x > 0 ? 1.0 : std::exp(x); }},
    {Pointwise::laplace, [](double x) { return 0.5 * std::erfc((M_SQRT1_2 - x) * std::sqrt(2 * M_PI)); },
     [](double x) { return M_SQRT2 * std::exp(-2 * M_PI * (x - M_SQRT1_2) * (x - M_SQRT1_2)); }},
};

}  // namespace

TEST_CASE_TEMPLATE("pointwise kernels: elu1 of what is not a number is none", T, float, double) {
  T x[] = {std::numeric_limits<T>::quiet_NaN(), 0, -1, 2}, y[4];
  kernel::pointwise<T>(Pointwise::elu1, {x, 1, 4, 4}, {y, 1, 4, 4});
  CHECK(std::isnan(y[0]));
  CHECK(y[1] == 1);
}

TEST_CASE_TEMPLATE("pointwise kernels: log of what has none is that of the smallest normal number, without a slope", T,
                   float, double) {
  constexpr T kLeast = std::numeric_limits<T>::min();
  T x[] = {0, -1, kLeast / 2, kLeast, 2 * kLeast, T(0.3), 7}, dy[] = {1, 1, 1, 1, 1, 1, 1}, y[7], dx[7];
  kernel::pointwise<T>(Pointwise::log, {x, 1, 7, 7}, {y, 1, 7, 7});
  kernel::pointwise_backward<T>(Pointwise::log, {x, 1, 7, 7}, {dy, 1, 7, 7}, {dx, 1, 7, 7}, false);
  for (int i = 0; i < 7; ++i) {
    CHECK(y[i] == doctest::Approx(std::log(std::max(x[i], kLeast))).epsilon(1e-6));
    CHECK(dx[i] == doctest::Approx(x[i] > kLeast ? 1 / x[i] : 0).epsilon(1e-6));
  }
}

TEST_CASE_TEMPLATE("pointwise kernels: every function and derivative at every size", T, float, double) {
  for_each_size(0, [](int64_t cols, Layout at) {
    const Rows<T> x(2, cols, at, 1, 2), dy(2, cols, at, 2);
    double worst = 0;
    for (const Function& f : kFunctions) {
      Rows<T> y(2, cols, {at.pad, at.offset}, 3), dx(2, cols, at, 4), added(2, cols, at, 5);
      kernel::pointwise<T>(f.kind, x.view(), y.view());
      kernel::pointwise_backward<T>(f.kind, x.view(), dy.view(), dx.view(), false);
      kernel::pointwise_backward<T>(f.kind, x.view(), dy.view(), added.view(), true);
      const auto d = [&](int64_t r, int64_t c) { return f.df(x.at(r, c)) * dy.at(r, c); };
      worst = std::max(worst, y.error([&](int64_t r, int64_t c) { return f.f(x.at(r, c)); }));
      worst = std::max(worst, dx.error(d));
      worst = std::max(worst, added.error([&](int64_t r, int64_t c) { return added.before(r, c) + d(r, c); }));
    }
    CHECK(worst < kTolerance<T>);
  });
}

TEST_CASE_TEMPLATE("pointwise kernels: products, sums and rows at every size", T, float, double) {
  for_each_size(0, [](int64_t cols, Layout at) {
    const Rows<T> a(3, cols, at, 1), b(3, cols, {at.pad, at.offset}, 2);
    Rows<T> row(1, cols, at, 3), column(1, cols, at, 4);
    const auto alpha = T(0.75);
    const auto worst_of = [&](auto run, auto plain) {
      double worst = 0;
      for (bool add : {false, true}) {
        Rows<T> y(3, cols, at, 5);
        run(y.view(), add);
        worst =
            std::max(worst, y.error([&](int64_t r, int64_t c) { return plain(r, c) + (add ? y.before(r, c) : 0); }));
      }
      return worst;
    };
    CHECK(worst_of([&](View<T> y, bool add) { kernel::multiply<T>(alpha, a.view(), b.view(), y, add); },
                   [&](int64_t r, int64_t c) { return 0.75 * a.at(r, c) * b.at(r, c); }) < kTolerance<T>);
    CHECK(worst_of([&](View<T> y, bool add) { kernel::scale<T>(alpha, a.view(), y, add); },
                   [&](int64_t r, int64_t c) { return 0.75 * a.at(r, c); }) < kTolerance<T>);
    Rows<T> sum(3, cols, at, 6), shifted(3, cols, at, 7);
    kernel::sum<T>(a.view(), b.view(), sum.view());
    kernel::add_row<T>(a.view(), row.data(), shifted.view());
    CHECK(sum.error([&](int64_t r, int64_t c) { return a.at(r, c) + b.at(r, c); }) < kTolerance<T>);
    CHECK(shifted.error([&](int64_t r, int64_t c) { return a.at(r, c) + row.at(0, c); }) < kTolerance<T>);
    const auto total = [&](int64_t, int64_t c) { return a.at(0, c) + a.at(1, c) + a.at(2, c); };
    kernel::column_sum<T>(a.view(), column.data(), true);
    CHECK(column.error([&](int64_t r, int64_t c) { return column.before(r, c) + total(r, c); }) < kTolerance<T>);
    kernel::column_sum<T>(a.view(), column.data(), false);
    CHECK(column.error(total) < kTolerance<T>);
  });
}

TEST_CASE_TEMPLATE("pointwise kernels: swiglu and its gradient at every size", T, float, double) {
  for_each_size(0, [](int64_t cols, Layout at) {
    const Rows<T> x(2, 2 * cols, at, 1), dy(2, cols, at, 2);
    Rows<T> y(2, cols, at, 3);
    kernel::swiglu<T>(x.view(), y.view());
    double worst = y.error([&](int64_t r, int64_t c) { return x.at(r, c) * logistic(x.at(r, c)) * x.at(r, c + cols); });
    for (bool add : {false, true}) {
      Rows<T> dx(2, 2 * cols, at, 4);
      kernel::swiglu_backward<T>(x.view(), dy.view(), dx.view(), add);
      worst = std::max(worst, dx.error([&](int64_t r, int64_t c) {
        const double gate = x.at(r, c % cols), s = logistic(gate), g = dy.at(r, c % cols);
        const double d = c < cols ? g * x.at(r, c + cols) * (s + gate * s * (1 - s)) : g * gate * s;
        return d + (add ? dx.before(r, c) : 0);
      }));
    }
    CHECK(worst < kTolerance<T>);
  });
}

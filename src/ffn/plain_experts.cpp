#include "ffn/plain_experts.h"

#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/groups.h"
#include "ops/linear.h"
#include "ops/softmax.h"

namespace effllm {
namespace {

// The matrix [rows, columns] that picks or adds up columns: f(row, column) is 0 or 1.
template <class F>
Tensor picking(int64_t rows, int64_t columns, DType t, F&& f) {
  const Tensor m = Tensor::empty({rows, columns}, t);
  if (m.is_meta()) return m;
  dispatch_float(t, [&]<class T>() {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c) m.view<T>().row(r)[c] = f(r, c) ? T(1) : T(0);
  });
  return m;
}

}  // namespace

void PlainExpertOptions::visit(OptionVisitor& v) {
  v("constants", constants,
    "Adds experts, so many, that answer a mean of what they are given and a vector that they learn.", between(0, 1024));
  v("copies", copies, "Adds experts, so many, that answer what they are given.", between(0, 1024));
  v("zeros", zeros, "Adds experts, so many, that answer nothing, and whose weights count in no sum.", between(0, 1024));
}

PlainExperts::PlainExperts(const PlainExpertOptions& o, int64_t d_model, const Scope& s) : o_(o) {
  if (o.constants == 0) return;
  mix_ = &s.param("mix.weight", {2 * o.constants, d_model}, Init::torch_linear(d_model));
  vectors_ = &s.param("vectors.weight", {d_model, o.constants}, Init::normal(1));
}

Tensor PlainExperts::operator()(const Tensor& x, const Tensor& weights) const {
  const int64_t n = o_.constants, copies = o_.copies;
  const auto times_x = [&](const Tensor& factors, auto&& counted) {
    return multiply_groups(x, linear(factors, picking(1, factors.cols(), x.dtype(), counted)));
  };
  const auto all = [](int64_t, int64_t) { return true; };
  if (n == 0) return times_x(weights, all);
  const std::vector<Tensor> parts = copies > 0 ? split_columns(weights, {n, copies}) : std::vector{weights};
  // Two numbers of each: of what it is given, and of its vector.
  const Tensor mix = multiply_groups(softmax(linear(x, mix_->value), n), parts[0]);
  const Tensor of_vectors =
      linear(mix, picking(n, 2 * n, x.dtype(), [](int64_t r, int64_t c) { return c == 2 * r + 1; }));
  const Tensor y =
      add(times_x(mix, [](int64_t, int64_t c) { return c % 2 == 0; }), linear(of_vectors, vectors_->value));
  return copies > 0 ? add(y, times_x(parts[1], all)) : y;
}

}  // namespace effllm

#include "train/exchange.h"

#include <cmath>
#include <vector>

#include "autodiff/profile.h"
#include "kernels/optimizer.h"
#include "kernels/parallel.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

constexpr int64_t kBlock = 16384;  // elements added at a time; the norm's partial sums follow these blocks

// add(i, j) adds node j to node i: all that meets goes through this one tree.
template <class F>
void add_in_tree(size_t nodes, F&& add) {
  for (size_t step = 1; step < nodes; step *= 2)
    for (size_t i = 0; i + step < nodes; i += 2 * step) add(i, i + step);
}

}  // namespace

Exchange::Exchange(const ParamStore& params, size_t lanes) {
  for (size_t i = 0; i < lanes; ++i) sums_.emplace_back(params);
}

template <class T>
double Exchange::add_gradients() {
  const int64_t n = sums_[0].gradient.elements();
  const Profile::Span span("add lanes, norm", "", Way::phase, 0,
                           static_cast<double>(static_cast<size_t>(n) * lanes() * sizeof(T)));
  std::vector<double> squares(static_cast<size_t>((n + kBlock - 1) / kBlock));
  parallel_for(n, kBlock, [&](int64_t from, int64_t to) {
    const auto part = [&](size_t lane) {
      return View<T>{sums_[lane].gradient.template data<T>() + from, 1, to - from, to - from};
    };
    add_in_tree(lanes(), [&](size_t i, size_t j) { kernel::sum<T>(part(i), part(j), part(i)); });
    squares[static_cast<size_t>(from / kBlock)] = kernel::sum_of_squares<T>(part(0).data, to - from);
  });
  double total = 0;
  for (double s : squares) total += s;
  return std::sqrt(total);
}

StepSums Exchange::meet() {
  double loss = 0;
  for (const LaneSums& lane : sums_) loss += lane.loss;
  const double norm = dispatch_float(sums_[0].gradient.dtype(), [&]<class T>() { return add_gradients<T>(); });
  add_in_tree(lanes(), [&](size_t i, size_t j) { sums_[i].ledger += sums_[j].ledger; });
  return {sums_[0].gradient, loss, norm, sums_[0].ledger};
}

}  // namespace effllm

#include <doctest/doctest.h>

#include <vector>

#include "kernels/rows.h"
#include "kernels/short_conv.h"

using namespace effllm;
using namespace effllm::test;

namespace {

template <class T>
void check(int64_t rows, int64_t cols, int64_t width, Layout layout, bool documents) {
  Rows<T> x(rows, cols, layout, 1), w(1, width, {}, 2);
  std::vector<int64_t> from(static_cast<size_t>(rows));
  int64_t begin = 0;
  for (int64_t t = 0; t < rows; ++t) {
    if (documents && t % 5 == 3) begin = t;
    from[static_cast<size_t>(t)] = std::max(begin, t - width + 1);
  }
  for (bool add : {false, true})
    for (bool back : {false, true}) {
      Rows<T> y(rows, cols, layout, 3);
      kernel::filter<T>(x.in_order(back), w.view().data, width, from.data(), y.in_order(back), add);
      const auto row = [&](int64_t t) { return back ? rows - 1 - t : t; };  // of the t-th in time
      CHECK(y.error([&](int64_t r, int64_t c) {
        const int64_t t = row(r);
        double sum = add ? y.before(r, c) : 0;
        for (int64_t s = from[static_cast<size_t>(t)]; s <= t; ++s) sum += w.at(0, width - 1 - t + s) * x.at(row(s), c);
        return sum;
      }) < 4 * kTolerance<T>);
    }
}

}  // namespace

TEST_CASE("filter kernel: equals the sum over sources at all sizes and offsets, in both directions of time") {
  for_each_size(1, [](int64_t cols, const Layout& layout) {
    const int64_t width = 1 + cols % 7, rows = 1 + cols % 13;
    check<float>(rows, cols, width, layout, cols % 2 == 0);
    check<double>(rows, cols, width, layout, cols % 2 == 1);
  });
  for_each_isa([] {
    check<float>(70, 100, 32, {1, 3}, false);
    check<double>(70, 70, 32, {1, 3}, true);
  });
}

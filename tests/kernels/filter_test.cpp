#include <doctest/doctest.h>

#include <vector>

#include "kernels/everywhere.h"
#include "kernels/short_conv.h"

using namespace effllm;
using namespace effllm::test;

namespace {

void check(int64_t rows, int64_t cols, int64_t width, bool documents) {
  INFO(rows, "x", cols, ", ", width, " taps");
  std::vector<int64_t> from(static_cast<size_t>(rows));
  for (int64_t t = 0, begin = 0; t < rows; ++t) {
    if (documents && t % 5 == 3) begin = t;
    from[static_cast<size_t>(t)] = std::max(begin, t - width + 1);
  }
  expect_one_result([&]<class T>(Layout at, bool add) {
    Rows<T> x(rows, cols, at, 1), w(1, width, {}, 2);
    Results<T> all;
    for (bool back : {false, true}) {  // in time and against it
      Rows<T> y(rows, cols, at, 3);
      kernel::filter<T>(x.in_order(back), w.data(), width, from.data(), y.in_order(back), add);
      all.push_back({y, add, 4});
    }
    return all;
  });
}

}  // namespace

TEST_CASE("filter kernel: one result at all sizes and offsets, in both directions of time") {
  for (int64_t cols = 1; cols <= kMostColumns; ++cols)
    for (bool documents : {false, true}) check(1 + cols % 13, cols, 1 + cols % 7, documents);
  check(70, 100, 32, false);
  check(70, 70, 32, true);
}

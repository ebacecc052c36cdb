#include <doctest/doctest.h>

#include "kernels/everywhere.h"
#include "kernels/short_conv.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("short_conv kernel: one result at all sizes and offsets, with a history and documents and without") {
  const std::vector<uint8_t> flags = {0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0};
  expect_one_result(0, [&]<class T>(int64_t cols, Layout at, bool add) {
    Results<T> all;
    for (int64_t width : {1, 2, 3, 4, 7}) {
      const int64_t tokens = 1 + (cols + width) % 13;
      const Rows<T> x(tokens, cols, at, 1), w(width, cols, at, 2), history(width - 1, cols, at, 3),
          dy(tokens, cols, at, 5);
      const uint8_t* starts = (cols + width) % 3 ? flags.data() : nullptr;
      const View<const T> past = cols % 2 ? history.view() : View<const T>{};
      Rows<T> y(tokens, cols, {1, 3}, 4), dx(tokens, cols, {1, 3}, 6), dw(width, cols, at, 7),
          dh(width - 1, cols, {2, 3}, 8);
      kernel::short_conv<T>(x.view(), w.view(), past, starts, y.view());
      kernel::short_conv_backward<T>(x.view(), w.view(), past, starts, dy.view(), dx.view(), add, dw.view(), add,
                                     dh.view(), add);
      all.insert(all.end(), {{y, false, 10}, {dx, add, 10}, {dw, add, 10}, {dh, add, 10}});
    }
    return all;
  });
}

#include <doctest/doctest.h>

#include <tuple>

#include "cores/scan/scan_forms.h"
#include "kernels/everywhere.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kTokens = 5;
constexpr uint8_t kStarts[kTokens] = {0, 0, 1, 0, 0};

}  // namespace

TEST_CASE("fused_scan kernel: one result at all sizes and offsets, forward and backward, with a state and without") {
  for (const ScanForm& f : kScanForms) {
    CAPTURE(f.name);
    expect_one_result(1, [&f]<class T>(int64_t cols, Layout at, bool add) {
      const Rows<T> x0(kTokens, cols, at, 1), x1(kTokens, cols, at, 2), x2(kTokens, cols, at, 3),
          d_h(kTokens, cols, at, 7);
      Rows<T> row(1, cols, at, 4), h0(1, cols, at, 5), last(1, cols, at, 8);
      for (int64_t c = 0; c < cols; ++c) row.data()[c] = static_cast<T>(0.1f + 0.05f * static_cast<float>(c % 9));
      const auto& scan = std::get<const Kernel<ScanSignature<T>>&>(std::tie(f.f, f.d));
      const bool three = f.inputs == 3;
      Results<T> all;
      for (bool with_h0 : {false, true}) {
        Rows<T> h(kTokens, cols, at, 6), d0(kTokens, cols, at, 9), d1(kTokens, cols, at, 10), d2(kTokens, cols, at, 11),
            d_row(1, cols, at, 12), d_h0(1, cols, at, 13);
        const Scan<T> in = {
            {x0.view(), x1.view(), x2.view()}, row.data(), with_h0 ? h0.data() : nullptr, kStarts, f.candidate};
        scan(in, h.view(), nullptr);
        const ScanBackward<T> d = {d_h.view(),
                                   last.data(),
                                   {d0.view(), d1.view(), three ? d2.view() : View<T>{}},
                                   {add, add, three && !add},  // flags that differ
                                   d_row.data(),
                                   with_h0 ? d_h0.data() : nullptr,
                                   add};
        scan(in, h.view(), &d);
        all.insert(all.end(), {{h}, {d0, add, 5}, {d1, add, 5}});
        if (three) all.push_back({d2, !add, 5});
        if (f.row) all.push_back({d_row, false, 5});
        if (with_h0) all.push_back({d_h0, add, 5});
      }
      return all;
    });
  }
}

// One result everywhere: a kernel gives the same for each instruction set and type, for odd offsets and strides, and
// whether it adds to what is there or not. What stands for all is the result in f64 of the instruction set that the
// tests of ops and cores run: they compare it with its formula, and its gradient with differences.
#pragma once
#include <doctest/doctest.h>

#include <span>

#include "kernels/rows.h"

namespace effllm::test {

template <class T>
struct Result {
  Rows<T> rows;
  bool added = false;       // to what was there
  double roundings = 1;     // times kTolerance
  bool of_largest = false;  // measured by the largest number there, not by each
  double value(int64_t r, int64_t c) const { return rows.at(r, c) - (added ? rows.before(r, c) : 0); }
};
template <class T>
using Results = std::vector<Result<T>>;

// run<T>(layout, add) gives what a kernel wrote.
template <class F>
void expect_one_result(F&& run, std::span<const Layout> layouts = kLayouts) {
  const IsaRestored restored;
  set_isa(isas().front());
  const Results<double> expected = run.template operator()<double>(kLayouts[0], false);
  bool adds = false;
  for (const auto& r : run.template operator()<double>(kLayouts[0], true)) adds = adds || r.added;
  const auto compare = [&]<class T>(Layout at, bool add) {
    const Results<T> got = run.template operator()<T>(at, add);
    REQUIRE(got.size() == expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      INFO(isa(), ", bytes ", sizeof(T), ", offset ", at.offset, ", add ", add, ", result ", i);
      const double error = got[i].rows.error(
          [&](int64_t r, int64_t c) { return expected[i].value(r, c) + (got[i].added ? got[i].rows.before(r, c) : 0); },
          got[i].of_largest ? expected[i].rows.largest() : 0);
      CHECK(error < got[i].roundings * kTolerance<T>);
    }
  };
  for_each_isa([&] {
    for (const Layout& at : layouts)
      for (int add = 0; add <= adds; ++add) {
        compare.template operator()<float>(at, add != 0);
        compare.template operator()<double>(at, add != 0);
      }
  });
}
// run<T>(n, layout, add), for each size n from `least` on.
template <class F>
void expect_one_result(int64_t least, F&& run) {
  for (int64_t n = least; n <= kMostColumns; ++n) {
    CAPTURE(n);
    expect_one_result([&]<class T>(Layout at, bool add) { return run.template operator()<T>(n, at, add); });
  }
}

}  // namespace effllm::test

#include "nn/initial_values.h"

#include <algorithm>
#include <array>

#include "base/random.h"
#include "kernels/normals.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

// What starts this row; `row` becomes its number within the block.
const Init& of_row(const Init& init, int64_t& row) {
  for (const auto& [rows, block] : init.blocks) {
    if (row < rows) return block;
    row -= rows;
  }
  return init;
}

void fill_normal(const RandomStream& numbers, double stddev, uint64_t first, double* row, int64_t n) {
  for (int64_t c = 0; c < n; ++c) row[c] = stddev * numbers.normal(first + static_cast<uint64_t>(c));
}

// The kernel is near; where that leaves open which f32 is nearest to the number (5 times in ten million), the number
// itself is asked for.
void fill_normal(const RandomStream& numbers, double stddev, uint64_t first, float* row, int64_t n) {
  constexpr int64_t kPairs = 64;
  constexpr double kLess = 1 - 0x1p-46, kMore = 1 + 0x1p-46;
  std::array<double, 2 * kPairs> z;
  const auto key = numbers.key(), stream = numbers.stream();
  int64_t c = 0;
  while (c < n) {
    const uint64_t i = first + static_cast<uint64_t>(c), pair = i / 2 / 8 * 8;
    const auto skipped = static_cast<int64_t>(i - 2 * pair), count = std::min(n - c, 2 * kPairs - skipped);
    kernel::normals(key.data(), stream.data(), pair, (skipped + count + 1) / 2, z.data());
    for (int64_t j = 0; j < count; ++j) {
      const double x = stddev * z[static_cast<size_t>(skipped + j)];
      const auto low = static_cast<float>(x * kLess), high = static_cast<float>(x * kMore);
      row[c + j] = low == high ? low : static_cast<float>(stddev * numbers.normal(i + static_cast<uint64_t>(j)));
    }
    c += count;
  }
}

// Row `r`, of n elements: [first, first + n) of the parameter.
template <class T>
void fill_row(const RandomStream& numbers, const Init& init, int64_t r, uint64_t first, T* row, int64_t n) {
  if (init.kind == Init::Kind::normal) return fill_normal(numbers, init.a, first, row, n);
  if (init.kind == Init::Kind::constant) return void(std::fill_n(row, n, static_cast<T>(init.a)));
  for (int64_t c = 0; c < n; ++c) {
    const double u = numbers.uniform(first + static_cast<uint64_t>(c));
    row[c] = static_cast<T>(init.kind == Init::Kind::mapped ? init.map(u, r, c) : init.a * (2 * u - 1));
  }
}

}  // namespace

void initialise(const std::string& name, const Init& init, const Tensor& value, uint64_t seed) {
  const RandomStream numbers(seed, name);
  dispatch_float(value.dtype(), [&]<class T>() {
    const auto v = value.view<T>();
    parallel_for(v.rows, 16, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        int64_t row = r;
        const Init& own = of_row(init, row);
        fill_row(numbers, own, row, static_cast<uint64_t>(r * v.cols), v.row(r), v.cols);
      }
    });
  });
}

}  // namespace effllm

#include "cores/attention/block_queries.h"

#include <algorithm>

#include "cores/common/segments.h"

namespace effllm {

BlockQueries::BlockQueries(View<const int64_t> lists, int64_t block, int64_t at, const uint8_t* starts) {
  const int64_t tokens = lists.rows;
  std::vector<int64_t> base(static_cast<size_t>(tokens));  // number of the first block of each token's document
  for (int64_t t = 0; t < tokens;) {
    const int64_t first = starts && starts[t] ? at + t : 0, end = document_end(starts, t, tokens);
    std::fill(base.begin() + t, base.begin() + end, static_cast<int64_t>(blocks.size()));
    for (int64_t from = first; from < at + end; from += block)
      blocks.push_back({from, std::min(from + block, at + end), 0, 0});
    t = end;
  }
  const auto each = [&](auto&& f) {
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t i = 0; i < lists.cols; ++i) {
        const int64_t c = base[static_cast<size_t>(t)] + lists.row(t)[i];
        if (lists.row(t)[i] < 0 || c >= static_cast<int64_t>(blocks.size())) continue;
        if (Block& b = blocks[static_cast<size_t>(c)]; b.from <= at + t) f(b, t);
      }
  };
  each([](Block& b, int64_t) { ++b.count; });
  int64_t all = 0;
  for (Block& b : blocks) {
    b.first = all;
    all += b.count;
    b.count = 0;
  }
  token.resize(static_cast<size_t>(all));
  each([&](Block& b, int64_t t) { token[static_cast<size_t>(b.first + b.count++)] = t; });
}

}  // namespace effllm

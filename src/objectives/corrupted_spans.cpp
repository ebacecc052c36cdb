#include "objectives/corrupted_spans.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/text.h"

namespace effllm {
namespace {

// `items` in so many segments, none empty, all divisions alike.
std::vector<int64_t> segmentation(int64_t items, int64_t segments, const RandomStream& numbers) {
  std::vector<int64_t> places(static_cast<size_t>(items - 1));
  std::iota(places.begin(), places.end(), int64_t{1});
  for (int64_t i = 0; i + 1 < segments; ++i) {
    const auto at = static_cast<uint64_t>(i);
    std::swap(places[at], places[at + numbers.below(at, static_cast<uint64_t>(items - 1 - i))]);
  }
  places.resize(static_cast<size_t>(segments - 1));
  std::ranges::sort(places);
  places.push_back(items);
  std::vector<int64_t> lengths;
  for (int64_t from = 0; const int64_t to : places) lengths.push_back(to - std::exchange(from, to));
  return lengths;
}

}  // namespace

CorruptedSpans::Counts CorruptedSpans::counts(int64_t tokens) const {
  if (tokens == 1) return {1, 1};
  const auto rounded = [](double x) { return static_cast<int64_t>(std::nearbyint(x)); };
  const int64_t missing = std::clamp<int64_t>(rounded(rate * static_cast<double>(tokens)), 1, tokens - 1);
  const int64_t most = std::min(missing, tokens - missing);
  return {missing, std::clamp<int64_t>(rounded(static_cast<double>(missing) / mean_span), 1, most)};
}

void CorruptedSpans::require_sentinels(int64_t tokens) const {
  if (const int64_t spans = counts(tokens).spans; spans + 2 > sentinels)
    throw_at(mark, fmt::format("a row of {} has {}, for which objective.sentinels must be at least {}; it is {}",
                               counted(tokens, "token"), counted(spans, "span"), spans + 2, sentinels));
}

std::vector<bool> CorruptedSpans::drawn(int64_t tokens, const RandomStream& noise, const RandomStream& kept) const {
  const auto [missing, spans] = counts(tokens);
  if (tokens == 1) return {true};
  const std::vector<int64_t> out = segmentation(missing, spans, noise),
                             in = segmentation(tokens - missing, spans, kept);
  std::vector<bool> all;
  for (size_t i = 0; i < out.size(); ++i) {
    all.insert(all.end(), static_cast<size_t>(in[i]), false);
    all.insert(all.end(), static_cast<size_t>(out[i]), true);
  }
  return all;
}

TwoParts CorruptedSpans::taken_out(const Tensor& ids, int64_t vocab,
                                   const std::function<std::vector<bool>(int64_t b)>& missing) const {
  const int64_t batch = ids.dim(0), tokens = ids.dim(1);
  require_sentinels(tokens);
  const auto [taken, spans] = counts(tokens);
  const int64_t read = tokens - taken + spans, written = taken + spans + 1;
  TwoParts out{.read = Tensor::dense({batch, read}, DType::i32),
               .inputs = Tensor::dense({batch, written}, DType::i32),
               .targets = Tensor::dense({batch, written}, DType::i32)};
  if (ids.is_meta()) return out;
  const auto sentinel = [&](int64_t i) { return static_cast<int32_t>(vocab + i); };
  for (int64_t b = 0; b < batch; ++b) {
    const std::vector<bool> gone = missing(b);
    int32_t *to_encoder = out.read.data<int32_t>() + b * read, *target = out.targets.data<int32_t>() + b * written;
    int64_t span = 0;
    for (int64_t t = 0; t < tokens; ++t) {
      const bool here = gone[static_cast<size_t>(t)];
      if (here && (t == 0 || !gone[static_cast<size_t>(t - 1)])) *to_encoder++ = *target++ = sentinel(span++);
      *(here ? target : to_encoder)++ = ids.data<int32_t>()[b * tokens + t];
    }
    *target++ = sentinel(span);
    require(span == spans && target == out.targets.data<int32_t>() + (b + 1) * written,
            "span_corruption: {} spans were drawn for a row of {}", span, spans);
    int32_t* input = out.inputs.data<int32_t>() + b * written;
    *input = sentinel(sentinels - 1);
    std::copy_n(out.targets.data<int32_t>() + b * written, written - 1, input + 1);
  }
  return out;
}

}  // namespace effllm

// What every mixer of the list that follows a prefix and blocks does with them, in each of its variants: the whole is
// what its parts are that go on from a state.
#include "config/expect.h"
#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kTokens = 14, kWidth = 8;

// f(mixer, its options) of each; a composite is what its parts are.
void each_mixer(const std::function<void(const BuiltMixer&, const std::string&)>& f) {
  int count = 0;
  for (const LayerInfo* info : all_mixers) {
    if (!info->prefix_and_blocks || info->family == "composite") continue;
    std::vector<std::string> sets = {std::string(info->tiny)};
    for (const std::string_view v : info->variants)
      sets.push_back(to_yaml(merge(parse_config(info->tiny, "tiny"), parse_config(v, "variant"))));
    for (const std::string& set : sets) {
      CAPTURE(std::string(info->name));
      CAPTURE(set);
      BuiltMixer m(*info, set, kWidth, 1, 2);
      m.shake(0.3);
      f(m, set);
      ++count;
    }
  }
  CHECK(count > 10);
}

Tensor run(const BuiltMixer& m, const Tensor& x, Context cx) {
  cx.ids = ids_of(x);
  return m.mixer->forward(x, cx);
}

// Tokens from `cuts` on begin new calls; `first` is the context of the first, `then` that of the others.
Tensor in_parts(const BuiltMixer& m, const Tensor& x, const std::vector<int64_t>& cuts, Context first, Context then) {
  State state = m.mixer->make_state(2, kTokens, DType::f64);
  const Tensor all = Tensor::empty(x.shape(), DType::f64);
  for (size_t i = 0; i <= cuts.size(); ++i) {
    const int64_t from = i ? cuts[i - 1] : 0, to = i < cuts.size() ? cuts[i] : kTokens;
    Context& cx = i ? then : first;
    cx.state = &state;
    const Tensor y = run(m, tokens(x, from, to), cx);
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t t = from; t < to; ++t)
        for (int64_t c = 0; c < kWidth; ++c) put(all, b * kTokens + t, c, at(y, b * (to - from) + t - from, c));
  }
  return all;
}

}  // namespace

TEST_CASE("mixers: a prefix that is read at once and tokens after it, in any parts, are one call") {
  const Tensor x = random({2, kTokens, kWidth}, 1);
  each_mixer([&](const BuiltMixer& m, const std::string&) {
    Context prefix;
    prefix.prefix = integers({2}, {6, 6});
    const Tensor whole = run(m, x, prefix);
    CHECK(max_diff(in_parts(m, x, {6}, prefix, {}), whole) < 1e-11);
    CHECK(max_diff(in_parts(m, x, {6, 7, 11}, prefix, {}), whole) < 1e-11);
    CHECK(max_diff(in_parts(m, x, {6, 7, 8, 9, 10, 11, 12, 13}, prefix, {}), whole) < 1e-11);
    CHECK(max_diff(in_parts(m, x, {8}, prefix, {}), whole) < 1e-11);
    const Tensor causal = run(m, x, {});
    for (int64_t b = 0; b < 2; ++b) {
      CHECK(max_diff(tokens(whole, 0, 1), tokens(causal, 0, 1)) > 1e-6);
      prefix.prefix.data<int64_t>()[b] = 1;
    }
    CHECK(same_bits(run(m, x, prefix), causal));
  });
}

TEST_CASE("mixers: blocks of tokens, in parts of whole blocks, are one call") {
  const Tensor x = random({2, kTokens, kWidth}, 1);
  each_mixer([&](const BuiltMixer& m, const std::string& options) {
    Context blocks;
    blocks.block = 4;
    const Tensor whole = run(m, x, blocks);
    CHECK(max_diff(in_parts(m, x, {4, 8, 12}, blocks, blocks), whole) < 1e-11);
    CHECK(max_diff(in_parts(m, x, {8}, blocks, blocks), whole) < 1e-11);
    CHECK(max_diff(whole, run(m, x, {})) > 1e-6);
    blocks.block = 1;
    CHECK(same_bits(run(m, x, blocks), run(m, x, {})));
    if (options.find("sinks") != options.npos) return;
    // A clean copy behind which the noisy one is the same: the last block of it sees what that of the other sees.
    blocks.block = 4;
    blocks.noisy = true;
    blocks.positions = Tensor::dense({2, 2 * kTokens}, DType::i64);
    const Tensor both = Tensor::empty({2, 2 * kTokens, kWidth}, DType::f64);
    for (int64_t r = 0; r < 4 * kTokens; ++r) {
      const int64_t place = r % kTokens;
      blocks.positions.data<int64_t>()[r] = place;
      for (int64_t c = 0; c < kWidth; ++c) put(both, r, c, at(x, r / (2 * kTokens) * kTokens + place, c));
    }
    const Tensor y = run(m, both, blocks);
    CHECK(max_diff(tokens(y, 0, kTokens), whole) < 1e-11);
    CHECK(max_diff(tokens(y, kTokens, 2 * kTokens), whole) < 1e-11);
  });
}

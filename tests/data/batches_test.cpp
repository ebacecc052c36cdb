#include "data/batches.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>
#include <span>

#include "base/error.h"
#include "base/random.h"
#include "data/permutation.h"
#include "support/named.h"

using namespace effllm;

namespace {

// Token i is i, so that a batch shows where it was cut.
TokenizedText counting_text(int64_t n, std::vector<int64_t> document_starts = {0}) {
  TokenizedText text;
  text.tokens.resize(static_cast<size_t>(n));
  std::iota(text.tokens.begin(), text.tokens.end(), 0);
  text.document_starts = std::move(document_starts);
  text.bytes = n;
  return text;
}

int32_t input(const Batch& batch, int64_t b, int64_t t) {
  return batch.inputs[static_cast<size_t>(b * batch.tokens + t)];
}

// Rows are runs of the counting text, targets one further; all indices inside it.
void check_rows(const Batch& batch, int64_t n) {
  REQUIRE(static_cast<int64_t>(batch.inputs.size()) == batch.batch * batch.tokens);
  REQUIRE(batch.targets.size() == batch.inputs.size());
  for (int64_t b = 0; b < batch.batch; ++b)
    for (int64_t t = 0; t < batch.tokens; ++t) {
      const int32_t x = input(batch, b, t);
      CHECK(x == input(batch, b, 0) + t);
      CHECK(batch.targets[static_cast<size_t>(b * batch.tokens + t)] == x + 1);
      CHECK(x + 1 < n);
    }
}

const char* const kOrders[] = {"random_windows", "shuffled_windows", "streams"};

}  // namespace

TEST_CASE("batches: every order gives rows of the text with the next tokens as targets") {
  const TokenizedText text = counting_text(101);
  for (const char* name : kOrders) {
    CAPTURE(name);
    const auto order = build_order(name, text, {3, 7}, 5, false);
    for (int64_t step = 0; step < 40; ++step) {
      const Batch batch = order->at(3 * step);
      CHECK(batch.first_sample == 3 * step);
      check_rows(batch, 101);
      CHECK(batch.segments.empty());
      CHECK(batch.counted() == 21);
    }
  }
}

TEST_CASE("batches: a batch is a pure function of seed and samples seen") {
  const TokenizedText text = counting_text(500);
  for (const char* name : {"random_windows", "shuffled_windows"}) {
    CAPTURE(name);
    const auto once = build_order(name, text, {4, 9}, 1, false), again = build_order(name, text, {4, 9}, 1, false);
    const auto other = build_order(name, text, {4, 9}, 2, false);
    const auto late = again->at(77).inputs;  // no multiple of 4
    CHECK(once->at(3).inputs == again->at(3).inputs);
    CHECK(once->at(77).inputs == late);
    CHECK(once->at(3).inputs != once->at(4).inputs);
    CHECK(once->at(3).inputs != other->at(3).inputs);
  }
}

TEST_CASE("batches: random windows reach both ends of the text, evenly") {
  const TokenizedText text = counting_text(14);  // 10 starts
  const auto order = build_order("random_windows", text, {10, 4}, 3, false);
  std::map<int32_t, int> seen;
  for (int64_t step = 0; step < 500; ++step) {
    const Batch batch = order->at(10 * step);
    for (int64_t b = 0; b < 10; ++b) ++seen[input(batch, b, 0)];
    // The draws of runs that are stored.
    const RandomStream draws(3, "data.random_windows", static_cast<uint64_t>(step));
    CHECK(input(batch, 7, 0) == static_cast<int32_t>(draws.below(7, 10)));
  }
  CHECK(seen.size() == 10);
  for (const auto& [start, count] : seen) {
    CHECK(start < 10);
    CHECK(count > 400);  // 500 expected, standard deviation 21
    CHECK(count < 600);
  }
}

TEST_CASE("batches: an epoch of shuffled windows sees each window once, and they don't overlap") {
  for (const int64_t n : {8, 14, 15, 28, 100, 257}) {
    CAPTURE(n);
    const TokenizedText text = counting_text(n);
    const auto order = build_order("shuffled_windows", text, {1, 7}, 9, false);
    const int64_t windows = std::max<int64_t>(1, n / 7 - 1);
    std::set<int32_t> offsets;
    std::set<std::vector<int32_t>> sequences;
    for (int64_t epoch = 0; epoch < 60; ++epoch) {
      std::vector<int32_t> starts;
      for (int64_t k = 0; k < windows; ++k) {
        const Batch batch = order->at(epoch * windows + k);
        check_rows(batch, n);
        starts.push_back(input(batch, 0, 0));
      }
      sequences.insert(starts);
      std::ranges::sort(starts);
      offsets.insert(starts[0]);
      for (size_t k = 1; k < starts.size(); ++k) CHECK(starts[k] == starts[k - 1] + 7);
    }
    CHECK(static_cast<int64_t>(offsets.size()) == (n == 8 ? 1 : 7));  // 8: one row and its target fill the text
    if (windows > 8) CHECK(sequences.size() == 60);
    CHECK(order->epochs(windows) == 1);
    CHECK_FALSE(order->continues(0));
  }
}

TEST_CASE("batches: the rows of one step of shuffled windows are distinct, over a batch that straddles epochs too") {
  const TokenizedText text = counting_text(7 * 11);  // 10 windows
  const auto order = build_order("shuffled_windows", text, {4, 7}, 9, false);
  std::vector<int32_t> starts;
  for (int64_t step = 0; step < 5; ++step) {
    const Batch batch = order->at(4 * step);
    for (int64_t b = 0; b < 4; ++b) starts.push_back(input(batch, b, 0));
  }
  CHECK(std::set<int32_t>(starts.begin(), starts.begin() + 10).size() == 10);
  CHECK(std::set<int32_t>(starts.begin() + 10, starts.end()).size() == 10);
}

TEST_CASE("batches: streams continue exactly, and wrap together") {
  const TokenizedText text = counting_text(65);  // 3 rows of 5 tokens: 4 steps an epoch
  const auto order = build_order("streams", text, {3, 5}, 1, false);
  std::set<int32_t> seen;
  for (int64_t step = 0; step < 12; ++step) {
    const Batch now = order->at(3 * step), next = order->at(3 * step + 3);
    CHECK(order->continues(3 * step + 3) == (step % 4 != 3));
    for (int64_t b = 0; b < 3; ++b) {
      if (order->continues(3 * step + 3))
        CHECK(input(next, b, 0) == now.targets[static_cast<size_t>(b * 5 + 4)]);
      else
        CHECK(input(next, b, 0) == b * 20);
      for (int64_t t = 0; t < 5; ++t) seen.insert(input(now, b, t));
    }
  }
  CHECK(seen.size() == 60);  // rows don't overlap and leave no gap
  CHECK(order->at(0).inputs == order->at(12).inputs);
  CHECK(order->epochs(12) == 1);
  CHECK(order->epochs(6) == 0.5);
  CHECK_THROWS_AS(order->at(4), ShapeError);  // no row would go on
}

TEST_CASE("batches: a batch of another size goes on with the next windows, none left out and none twice") {
  const TokenizedText text = counting_text(400);
  const auto starts = [&](const char* name, BatchShape shape, int64_t from, int64_t to) {
    std::vector<int32_t> all;
    const auto order = build_order(name, text, shape, 3, false);
    for (int64_t samples = from; samples < to; samples += shape.batch) {
      const Batch batch = order->at(samples);
      for (int64_t b = 0; b < shape.batch; ++b) all.push_back(input(batch, b, 0));
    }
    return all;
  };
  for (const char* name : {"shuffled_windows", "random_windows"})
    for (const int64_t first : {1, 2, 3, 6}) {
      CAPTURE(name);
      CAPTURE(first);
      const std::vector<int32_t> whole = starts(name, {first, 7}, 0, 180);
      for (const int64_t then : {1, 2, 3, 4, 5, 12, 50}) {
        CAPTURE(then);
        std::vector<int32_t> parts = starts(name, {first, 7}, 0, 30);
        const std::vector<int32_t> rest = starts(name, {then, 7, first}, 30, 130);
        parts.insert(parts.end(), rest.begin(), rest.end());
        CHECK(parts.size() >= 130);
        CHECK(std::ranges::equal(parts, std::span(whole).first(parts.size())));
      }
    }
}

TEST_CASE("batches: documents are counted in the row and their first tokens are no targets") {
  const TokenizedText text = counting_text(41, {0, 3, 4, 10, 25});
  for (const char* name : kOrders) {
    CAPTURE(name);
    const auto order = build_order(name, text, {2, 5}, 3, true);
    for (int64_t step = 0; step < 30; ++step) {
      const Batch batch = order->at(2 * step);
      REQUIRE(batch.segments.size() == batch.inputs.size());
      int64_t counted = 0;
      for (int64_t b = 0; b < 2; ++b) {
        int64_t starts = 0;
        for (int64_t t = 0; t < 5; ++t) {
          const auto i = static_cast<size_t>(b * 5 + t);
          const auto is_start = [&](int64_t token) { return std::ranges::binary_search(text.document_starts, token); };
          starts += is_start(batch.inputs[i]);
          CHECK(batch.segments[i] == starts);
          const bool ignored = is_start(batch.inputs[i] + 1);
          CHECK(batch.targets[i] == (ignored ? kIgnoredTarget : batch.inputs[i] + 1));
          counted += !ignored;
        }
      }
      CHECK(batch.counted() == counted);
    }
  }
}

TEST_CASE("batches: over a step border a stream's row goes on with its document") {
  const TokenizedText text = counting_text(21, {0, 5, 7});  // one row of 5 tokens
  const auto order = build_order("streams", text, {1, 5}, 1, true);
  CHECK(order->at(0).segments == std::vector<int64_t>{1, 1, 1, 1, 1});
  CHECK(order->at(0).targets.back() == kIgnoredTarget);  // token 5 begins a document
  CHECK(order->at(1).segments == std::vector<int64_t>{1, 1, 2, 2, 2});
  CHECK(order->at(2).segments == std::vector<int64_t>{0, 0, 0, 0, 0});
  CHECK(order->at(4).segments == order->at(0).segments);
}

TEST_CASE("batches: the shortest text that suffices is taken, a shorter one refused") {
  for (const char* name : kOrders) {
    CAPTURE(name);
    const int64_t batch = name == std::string("streams") ? 2 : 1;
    const TokenizedText enough = counting_text(batch * 6 + 1), short_one = counting_text(batch * 6);
    check_rows(build_order(name, enough, {batch, 6}, 1, false)->at(11 * batch), batch * 6 + 1);
    CHECK_THROWS_AS(build_order(name, short_one, {batch, 6}, 1, false), DataError);
    CHECK_THROWS_AS(build_order(name, counting_text(0), {batch, 6}, 1, false), DataError);
  }
}

TEST_CASE("batches: unknown orders and empty shapes are ConfigErrors") {
  const TokenizedText text = counting_text(50);
  CHECK_THROWS_WITH_AS(build_order("stream", text, {1, 5}, 1, false), doctest::Contains("Did you mean `streams`?"),
                       ConfigError);
  CHECK_THROWS_AS(build_order("streams", text, {0, 5}, 1, false), ConfigError);
  CHECK_THROWS_AS(build_order("streams", text, {1, 0}, 1, false), ConfigError);
  CHECK_THROWS_AS(build_order("streams", text, {1, 5}, 1, false)->at(-1), ShapeError);
}

TEST_CASE("permutation: each element comes once, for every small size and some large ones") {
  std::vector<int64_t> sizes(130);
  std::iota(sizes.begin(), sizes.end(), 1);
  sizes.insert(sizes.end(), {1023, 1024, 1025, 65537});
  for (const int64_t n : sizes) {
    CAPTURE(n);
    const Permutation p(n, 7, 0);
    std::vector<bool> hit(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const auto x = static_cast<size_t>(p(i));
      REQUIRE(x < hit.size());
      REQUIRE_FALSE(hit[x]);
      hit[x] = true;
    }
  }
  CHECK_THROWS_AS(Permutation(0, 1, 1), ShapeError);
  CHECK_THROWS_AS(Permutation(5, 1, 1)(5), ShapeError);
}

TEST_CASE("permutation: seed and epoch change it, and every place is about equally likely") {
  const int64_t n = 1000;
  const auto head = [&](uint64_t seed, uint64_t epoch) {
    std::vector<int64_t> first;
    for (int64_t i = 0; i < 10; ++i) first.push_back(Permutation(n, seed, epoch)(i));
    return first;
  };
  CHECK(head(1, 0) == head(1, 0));
  CHECK(head(1, 0) != head(1, 1));
  CHECK(head(1, 0) != head(2, 0));
  std::array<int, 10> counts = {};
  for (uint64_t epoch = 0; epoch < 5000; ++epoch) ++counts[static_cast<size_t>(Permutation(10, 3, epoch)(4))];
  for (int c : counts) {
    CHECK(c > 400);  // 500 expected, standard deviation 21
    CHECK(c < 600);
  }
}

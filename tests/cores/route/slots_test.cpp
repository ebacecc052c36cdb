// Slots as means of the tokens of a document and back, against loops over both.
#include "cores/route/slots.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kTokens = 5, kSlots = 3, kWidth = 4;
const Tensor kStarts = integers({2, kTokens}, {0, 0, 1, 1, 1, 1, 1, 2, 3, 3});
int64_t document(const Tensor& segments, int64_t r) {
  if (!segments.defined()) return 0;
  const int64_t* of = segments.data<int64_t>();
  return of[r] - of[r / kTokens * kTokens];
}

}  // namespace

TEST_CASE("slots: each is a weighted sum of its document's tokens, and each token one of its document's slots") {
  const Poison poison;
  for (const Tensor& segments : {Tensor(), kStarts}) {
    const int64_t room = segments.defined() ? kTokens : 1;
    CHECK(room_for_documents(kTokens, segments) == room);
    const Tensor x = random({2, kTokens, kWidth}, 1), logits = random({2, kTokens, kSlots}, 2);
    const Tensor weights = softmax_of_tokens(logits, segments), slots = tokens_to_slots(x, weights, segments);
    const Tensor any = random({2, room * kSlots, kWidth}, 3), y = slots_to_tokens(any, weights, segments);
    Tensor want = Tensor::zeros(slots.shape(), DType::f64), sums = Tensor::zeros({2, room * kSlots}, DType::f64);
    const auto slot = [&](int64_t r, int64_t s) { return document(segments, r) * kSlots + s; };
    for (int64_t r = 0; r < 2 * kTokens; ++r)
      for (int64_t s = 0; s < kSlots; ++s)
        put(sums, r / kTokens, slot(r, s), at(sums, r / kTokens, slot(r, s)) + std::exp(at(logits, r, s)));
    for (int64_t r = 0; r < 2 * kTokens; ++r) {
      const int64_t b = r / kTokens;
      for (int64_t s = 0; s < kSlots; ++s) {
        CHECK(std::abs(at(weights, r, s) - std::exp(at(logits, r, s)) / at(sums, b, slot(r, s))) < 1e-15);
        for (int64_t c = 0; c < kWidth; ++c) {
          const int64_t row = b * room * kSlots + slot(r, s);
          put(want, row, c, at(want, row, c) + at(weights, r, s) * at(x, r, c));
        }
      }
      for (int64_t c = 0; c < kWidth; ++c) {
        double sum = 0;
        for (int64_t s = 0; s < kSlots; ++s) sum += at(weights, r, s) * at(any, b * room * kSlots + slot(r, s), c);
        CHECK(std::abs(at(y, r, c) - sum) < 1e-14);
      }
    }
    CHECK(max_diff(slots, want) < 1e-14);  // zeros where a row has no such document
    expect_sound([&](const Tensors& in) { return std::vector{softmax_of_tokens(in[0], segments)}; }, {logits});
    expect_sound([&](const Tensors& in) { return std::vector{tokens_to_slots(in[0], in[1], segments)}; }, {x, weights});
    expect_sound([&](const Tensors& in) { return std::vector{slots_to_tokens(in[0], in[1], segments)}; },
                 {any, weights});
  }
}

TEST_CASE("slots: which expert has which, threads, refused shapes") {
  const Tensor of = experts_of_slots(2, kTokens, 4, 2, kStarts);
  CHECK(of.shape() == Shape{2, kTokens * 4, 1});
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = 0; i < kTokens * 4; ++i)
      CHECK(of.data<int64_t>()[b * kTokens * 4 + i] == (i < (b == 0 ? 8 : 12) ? i % 4 / 2 : -1));
  const Function all = [](const Tensors& in) {
    const Tensor w = softmax_of_tokens(in[1], {});
    return std::vector{slots_to_tokens(tokens_to_slots(in[0], w, {}), w, {})};
  };
  expect_same_bits_on_threads(all, {random({3, 40, 8}, 1), random({3, 40, 6}, 2)});
  CHECK_THROWS_AS(experts_of_slots(1, 4, 3, 2, {}), ShapeError);
  CHECK_THROWS_AS(tokens_to_slots(random({2, 4, 3}, 1), random({2, 5, 2}, 2), {}), ShapeError);
  CHECK_THROWS_AS(slots_to_tokens(random({2, 3, 3}, 1), random({2, 5, 2}, 2), {}), ShapeError);
}

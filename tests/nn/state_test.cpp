#include "nn/state.h"

#include <doctest/doctest.h>

#include "support/tensors.h"

using namespace effllm;

namespace {

std::shared_ptr<const Site> two_places() {
  const auto root = std::make_shared<Site>();
  root->count_tokens();
  root->child("a").field("h", {2, 3});
  Site& b = root->child("b");
  b.per_token("k", {4});
  b.field("h", {1});
  return root;
}

}  // namespace

TEST_CASE("state: zeros of the shapes that sites declare") {
  const auto root = two_places();
  State state(root, 5, 7, DType::f64);
  CHECK(state.batch() == 5);
  CHECK(state.field((*root)["a"], "h").shape() == Shape{5, 2, 3});
  CHECK(state.field((*root)["b"], "k").shape() == Shape{5, 7, 4});
  CHECK(state.field((*root)["b"], "h").dtype() == DType::f64);
  CHECK(state.field(*root, "seen").shape() == Shape{5});
  CHECK(state.field(*root, "seen").dtype() == DType::i64);
  state.each([](const StateField&, const Tensor& t) {
    for (size_t i = 0; i < t.bytes(); ++i) CHECK(t.raw()[i] == std::byte{0});
  });
}

TEST_CASE("state: the part of one place has the same tensors, and moves on alone") {
  const auto root = two_places();
  const Site& b = (*root)["b"];
  State state(root, 2, 3, DType::f64), part = state.at(b);
  CHECK(&part.root() == &b);
  CHECK(part.field(b, "h").raw() == state.field(b, "h").raw());
  std::string names;
  part.each([&](const StateField& f, const Tensor&) { names += f.path + " "; });
  CHECK(names == "b.k b.h ");
  part.field(b, "h") = test::random({2, 1}, 1);
  CHECK(test::max_abs(state.field(b, "h")) == 0);
}

TEST_CASE("state: rows are views of some sequences, and take values") {
  const auto root = two_places();
  const Site& a = (*root)["a"];
  const State all(root, 4, 3, DType::f64);
  const State some = all.rows(1, 2);
  CHECK(some.batch() == 2);
  State values(root, 2, 3, DType::f64);
  values.field(a, "h") = test::random({2, 2, 3}, 1);
  values.field(*root, "seen").data<int64_t>()[1] = 9;
  some.put(values);
  const Tensor h = all.field(a, "h");
  CHECK(test::max_diff(h.row_range(2, {4, 3}), values.field(a, "h").reshape({4, 3})) == 0);
  CHECK(test::max_abs(h.row_range(0, {2, 3})) == 0);
  CHECK(test::max_abs(h.row_range(6, {2, 3})) == 0);
  CHECK(all.field(*root, "seen").data<int64_t>()[2] == 9);
}

TEST_CASE("state: sequences that forget at a place remember nothing there, and all elsewhere") {
  const auto root = two_places();
  const Site &a = (*root)["a"], &b = (*root)["b"];
  State state(root, 3, 2, DType::f64);
  state.field(a, "h") = test::random({3, 2, 3}, 1);
  state.field(b, "h") = test::random({3, 1}, 2);
  const State before = state;
  state.forget(a, {0, 2});
  const Tensor h = state.field(a, "h"), had = before.field(a, "h");
  CHECK(test::max_abs(h.row_range(0, {2, 3})) + test::max_abs(h.row_range(4, {2, 3})) == 0);
  CHECK(test::max_diff(h.row_range(2, {2, 3}), had.row_range(2, {2, 3})) == 0);
  CHECK(test::max_abs(had.row_range(0, {2, 3})) > 0);
  CHECK(state.field(b, "h").raw() == before.field(b, "h").raw());
}

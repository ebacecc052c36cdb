#include "nn/state.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "nn/call.h"
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

namespace {

// A cache and a state that moves on: what a call of `tokens` tokens does to it.
void read_tokens(State& state, const Site& b, int64_t tokens, bool replaces) {
  Context cx;
  cx.state = &state;
  const Call root(cx, state.root()), call(cx, b);
  const int64_t seen = root.seen().data<int64_t>()[0];
  const Tensor k = call.grow("k");
  for (int64_t t = 0; t < tokens; ++t) fill(k.row_range(seen + t, {1, k.cols()}), static_cast<double>(seen + t + 1));
  call.write("k", k);
  if (replaces) call.write("h", Tensor::full({1, 1}, DType::f64, static_cast<double>(seen + tokens)));
  root.advance(tokens);
}

struct Rewound {
  std::shared_ptr<const Site> root = two_places();
  const Site& b = (*root)["b"];
  State state = State(root, 1, 9, DType::f64);
  void read(int64_t tokens, bool replaces) { read_tokens(state, b, tokens, replaces); }
  int64_t seen() const { return state.field(*root, "seen").data<int64_t>()[0]; }
  double k(int64_t row) const { return test::at(state.field(b, "k"), row, 0); }
  double h() const { return test::at(state.field(b, "h"), 0, 0); }
};

}  // namespace

TEST_CASE("state: rows of tokens behind a mark become fewer, in the same memory, without being read again") {
  Rewound r;
  r.read(3, false);
  const std::byte* const memory = r.state.field(r.b, "k").raw();
  r.state.mark();
  r.read(4, false);
  CHECK(r.state.field(r.b, "k").raw() == memory);
  CHECK(r.state.rewind(0, 2));
  CHECK(r.seen() == 5);
  CHECK(r.state.field(r.b, "k").raw() == memory);
  r.read(1, false);
  CHECK(r.state.field(r.b, "k").raw() == memory);
  CHECK(r.k(5) == 6);
  CHECK_FALSE(r.state.rewind(0, 4));  // three have come since
  CHECK(r.seen() == 3);
  CHECK_THROWS_AS(r.state.rewind(1), Error);
}

TEST_CASE("state: where something was replaced a state is at its mark, of which there may be several") {
  Rewound r;
  r.read(2, true);
  for (int i = 0; i < 3; ++i) {
    r.state.mark();
    r.read(1, true);
  }
  CHECK(r.h() == 5);
  CHECK(r.state.rewind(1));
  CHECK(r.seen() == 3);
  CHECK(r.h() == 3);
  CHECK(r.state.marks() == 2);
  r.read(2, true);
  CHECK_FALSE(r.state.rewind(0, 1));
  CHECK(r.seen() == 2);
  CHECK(r.h() == 2);
}

TEST_CASE("state: a branch is not written into, whoever has marks") {
  Rewound r;
  r.read(3, false);
  r.state.mark();
  State branch = r.state;
  r.read(2, false);
  fill(r.state.field(r.b, "k").row_range(3, {2, 4}), -1);
  read_tokens(branch, r.b, 2, false);
  CHECK(test::at(branch.field(r.b, "k"), 3, 0) == 4);
  CHECK(r.k(3) == -1);
  CHECK(branch.rewind(0, 1));
  CHECK_FALSE(r.state.rewind(0, 1));  // what came is in other memory than the mark's
  CHECK(r.k(2) == 3);
}

TEST_CASE("state: tokens that a place left out are not counted there, and so are read again") {
  const auto root = std::make_shared<Site>();
  root->count_tokens();
  Site& inner = root->child("chosen");
  inner.count_tokens();
  inner.per_token("k", {4});
  State state(root, 1, 9, DType::f64);
  state.mark();
  Context cx;
  cx.state = &state;
  Call(cx, *root).advance(3);
  Call(cx, inner).advance(2);
  CHECK_FALSE(state.rewind(0, 1));
  CHECK(state.field(*root, "seen").data<int64_t>()[0] == 0);
}

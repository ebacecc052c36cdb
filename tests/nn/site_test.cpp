#include "nn/site.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "nn/layer.h"
#include "support/tensors.h"

using namespace effllm;

namespace {

// Adds up what it has seen.
class Sum final : public Layer {
 public:
  void declare(Site& site) const override {
    site.window("recent", 2, {5});
    site.per_token("all", {3});
    site.per_token("blocks", {3}, [](int64_t tokens) { return tokens / 4; });
    site.field("sum", {1, 3});
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    call.write("sum", x);
    return x;
  }
};

std::vector<std::string> paths(const Site& site) {
  std::vector<std::string> all;
  for (const StateField* f : site.all()) all.push_back(f->path);
  return all;
}

using Paths = std::vector<std::string>;

}  // namespace

TEST_CASE("site: fields have the path of their use, in the order of their declaration") {
  const Sum layer;
  Site root;
  root.count_tokens();
  Site &first = root.child("first", layer), &place = root.child("place"), &second = place.child("second", layer);
  second.count_tokens();
  CHECK(second.path() == "place.second");
  CHECK(paths(root) == Paths{"seen", "first.recent", "first.all", "first.blocks", "first.sum", "place.second.recent",
                             "place.second.all", "place.second.blocks", "place.second.sum", "place.second.seen"});
  CHECK(paths(first) == Paths{"first.recent", "first.all", "first.blocks", "first.sum"});
  CHECK(paths(place) == paths(second));
  CHECK(&root["place"]["second"] == &second);
  CHECK(&first.counter() == &root);
  CHECK(&second.counter() == &second);
  CHECK(second("sum").shape == Shape{1, 3});
}

TEST_CASE("site: what grows has the rows that so many tokens leave") {
  const auto site = site_of(Sum());
  CHECK((*site)("recent").shape_for(1) == Shape{1, 5});
  CHECK((*site)("recent").shape_for(100) == Shape{2, 5});
  CHECK((*site)("all").shape_for(7) == Shape{7, 3});
  CHECK((*site)("blocks").shape_for(9) == Shape{2, 3});
  CHECK((*site)("sum").shape_for(9) == Shape{1, 3});
  CHECK(site->bytes(9, DType::f32) == 4 * (2 * 5 + 9 * 3 + 2 * 3 + 3));
  CHECK(site->bytes(9, DType::f64) == 8 * (2 * 5 + 9 * 3 + 2 * 3 + 3));
  CHECK_THROWS_AS(site->bytes(int64_t{1} << 46, DType::f64), MemoryError);
}

TEST_CASE("site: what is not declared, or twice, is an error that says so") {
  const Sum layer;
  Site root;
  Site& site = root.child("a", layer);
  for (const char* wrong : {"x", "", "a", "recen", "a.sum"}) {
    CAPTURE(wrong);
    CHECK_THROWS_WITH_AS(site(wrong), doctest::Contains("recent, all, blocks, sum"), Error);
  }
  CHECK_THROWS_WITH_AS(root("sum"), doctest::Contains("among []"), Error);
  CHECK_THROWS_WITH_AS(site["b"], doctest::Contains("no place `a.b`"), Error);
  CHECK_THROWS_WITH_AS(site.field("sum", {1}), doctest::Contains("`a.sum` is declared twice"), Error);
  root.child("b", layer);
  CHECK_THROWS_WITH_AS(root.child("b"), doctest::Contains("the place `b` is declared twice"), Error);
  CHECK_THROWS_WITH_AS(site.field("late", {1}), doctest::Contains("`a.late`"), Error);
}

TEST_CASE("site: what is inside one that forgets has no room in a state") {
  const Sum layer;
  Site root;
  root.forget();
  const Site& inside = root.child("a", layer);
  root.count_tokens();
  CHECK(paths(root) == Paths{"seen"});
  CHECK(inside.forgets());
}

TEST_CASE("site: what layers share is given before it is needed, once, of one width, where no sample leaves it out") {
  Site root;
  Site &first = root.child("first"), &inner = first.child("mixer"), &picked = root.child("picked"),
       &last = root.child("last");
  CHECK_THROWS_WITH_AS(inner.needs("v", 4),
                       "first.mixer needs `v`, which no layer before it gives: put one that does before it",
                       ConfigError);
  picked.may_be_left_out();
  CHECK_THROWS_WITH_AS(picked.child("mixer").gives("v", 4), doctest::Contains("picked.mixer is the first to give `v`"),
                       ConfigError);
  CHECK_FALSE(root.on_shelf("v"));
  inner.gives("v", 4);
  CHECK(picked.on_shelf("v"));
  CHECK_THROWS_WITH_AS(last.gives("v", 4), doctest::Contains("`v` of last is given twice"), Error);
  CHECK_THROWS_WITH_AS(last.needs("v", 5), doctest::Contains("last needs `v` of width 5"), ConfigError);
  first.child("second").needs("v", 4);
  last.child("one").needs("v", 4);
  last.child("two").needs("v", 4);
  CHECK(first.needed().empty());  // what is given inside
  CHECK(root.given()[0].needed);
  CHECK(root.needed().empty());
  REQUIRE(last.needed().size() == 1);
  CHECK(last.needs("v")->width == 4);
  CHECK(last.gives("v") == nullptr);
  REQUIRE(first.given().size() == 1);
  CHECK(first.gives("v")->width == 4);
  for (int i = 0; i < 29; ++i) inner.gives("w" + std::to_string(i), 1);
  CHECK_FALSE(root.given()[1].needed);
  for (int i = 0; i < 28; ++i) last.needs("w" + std::to_string(i), 1);
  CHECK_THROWS_WITH_AS(last.needs("w28", 1), doctest::Contains("last needs `w28` and 29 more values"), ConfigError);
}

TEST_CASE("site: a value may be given anew, of another width, and a place knows which stands before it") {
  Site root;
  CHECK(root.before() == nullptr);
  Site& first = root.child("first");
  CHECK(first.before() == nullptr);
  first.gives_anew("v", 4);
  Site& second = root.child("second");
  CHECK(second.before() == &first);
  second.needs("v", 4);
  second.gives_anew("v", 6);
  CHECK(second.needs("v")->width == 4);
  CHECK(second.gives("v")->width == 6);
  CHECK(first.gives("v")->width == 4);
  Site &inner = second.child("inner"), &third = root.child("third");
  CHECK(inner.before() == nullptr);
  CHECK(third.before() == &second);
  CHECK_THROWS_WITH_AS(third.needs("v", 4), doctest::Contains("they are given with width 6"), ConfigError);
  third.needs("v", 6);
  REQUIRE(root.given().size() == 1);
  CHECK(root.given()[0].needed);  // nobody has to take it
  third.may_be_left_out();
  CHECK_THROWS_WITH_AS(third.gives_anew("v", 6), doctest::Contains("but samples may leave it out"), ConfigError);
}

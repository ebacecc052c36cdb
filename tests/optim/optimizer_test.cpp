#include "optim/optimizer.h"

#include <doctest/doctest.h>

#include "config/expect.h"
#include "optim/normal_store.h"
#include "support/tensors.h"

using namespace effllm;
using effllm::testing::config_error;

namespace {

// Two parameters whose rows are padded and one whose are not; b.vector keeps a number less than the others, a.weight
// one of each row and one of all beside.
struct Store : test::NormalStore {
  Store() : NormalStore({{"a.weight", {3, 5}}, {"b.vector", {4}}, {"c.weight", {2, 16}}}, DType::f32) {}
};

std::vector<SlotKind> kinds(const Parameter& p) {
  if (p.name == "b.vector") return {{"first"}};
  if (p.name == "c.weight") return {{"first"}, {"second"}};
  return {{"first"}, {"second"}, {"rows", SlotOf::row}, {"all", SlotOf::whole}};
}

}  // namespace

TEST_CASE("optimizers: each of the list is found by its name, others are told what is meant") {
  for (const OptimizerInfo* o : all_optimizers) CHECK(&all_optimizers.find(o->name) == o);
  const std::string message = config_error([] { all_optimizers.find("adamv"); });
  CHECK(has(message, "no optimizer is called `adamv`. Did you mean `adamw`?"));
  CHECK(has(message, "effllm list optimizers"));
}

TEST_CASE("optimizers: slots stand one after the other, a slab for each number, none for a parameter without") {
  const Store s;
  const SlotLayout layout(s.params, kinds);
  const auto& all = s.params.sorted();
  REQUIRE(layout.elements.size() == 4);
  CHECK(layout.elements[0] == s.params.slab_elements());
  CHECK(layout.elements[1] == all[0]->extent + all[2]->extent);
  CHECK(layout.offsets[0] == std::vector<int64_t>{0, all[0]->extent, all[0]->extent + all[1]->extent});
  CHECK(layout.offsets[1] == std::vector<int64_t>{0, -1, all[0]->extent});
  CHECK(layout.offsets[2] == std::vector<int64_t>{0, -1, -1});
  const Slots slots(s.params, kinds);
  for (const auto& [slot, i] : {std::pair{0, 0}, {1, 0}, {2, 0}, {3, 0}, {0, 1}, {0, 2}, {1, 2}}) {
    const Tensor v = slots.view(static_cast<size_t>(slot), static_cast<size_t>(i));
    CHECK(v.shape() == (slot == 3 ? Shape{1} : slot == 2 ? Shape{3} : all[static_cast<size_t>(i)]->shape));
    if (slot < 2) CHECK(v.stride() == all[static_cast<size_t>(i)]->value.stride());
    for (int64_t r = 0; r < v.rows(); ++r)
      for (int64_t c = 0; c < v.cols(); ++c) {
        CHECK(test::at(v, r, c) == 0);  // nobody else's
        test::put(v, r, c, 1 + i);
      }
  }
}

TEST_CASE("optimizers: all that is kept is visited, in store order, under its slot's name") {
  for (const OptimizerInfo* info : all_optimizers) {
    Store s;
    OptimOptions o;
    o.type = Choice(all_optimizers, info->name);
    const auto optimizer = build_optimizer(o, {}, s.params);
    std::vector<std::string> want, found;
    double bytes = 0;
    for (const Parameter* p : s.params.sorted()) {
      bytes += 4 * 3 * static_cast<double>(p->extent);
      for (const SlotKind& slot : slots_of(o.type)(*p)) {
        want.push_back(std::string(slot.name) + " " + p->name);
        bytes += 4 * 2 * static_cast<double>(slot.extent(*p));
      }
    }
    optimizer->visit([&](std::string_view slot, const Parameter& p, const Tensor&) {
      found.push_back(std::string(slot) + " " + p.name);
    });
    CHECK(found == want);
    CHECK(optimizer->pass_bytes() == bytes);
  }
}

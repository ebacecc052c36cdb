#include "autodiff/meter.h"

#include <doctest/doctest.h>

#include <limits>

#include "autodiff/tape.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "support/messages.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Tensor model(const Tensor& x, const Tensor& w, const Tensor& scale_by) {
  return add(x, linear(sigmoid(linear(rms_norm(x, scale_by, 1e-5), w)), w));
}

}  // namespace

TEST_CASE("meter: counts every op by name, and the total is their sum") {
  const Meter meter;
  model(random({3, 4}, 1), random({4, 4}, 2), random({4}, 3));
  REQUIRE(meter.by_op.size() == 4);
  CHECK(meter.by_op.at("linear").calls == 2);
  CHECK(meter.by_op.at("linear").cost.forward_flops == 2 * 2 * 3 * 4 * 4);
  double flops = 0, bytes = 0;
  for (const auto& [name, row] : meter.by_op) flops += row.cost.forward_flops, bytes += row.cost.backward_bytes;
  CHECK(meter.total.forward_flops == flops);
  CHECK(meter.total.backward_bytes == bytes);
}

TEST_CASE("meter: a run on shapes alone counts what a real run counts") {
  const Meter real;
  model(random({3, 4}, 1), random({4, 4}, 2), random({4}, 3));
  const Meter meta;
  {
    const MetaMode on;
    CHECK(model(Tensor::empty({3, 4}, DType::f64), Tensor::empty({4, 4}, DType::f64), Tensor::empty({4}, DType::f64))
              .is_meta());
  }
  CHECK(meta.total.forward_flops == real.total.forward_flops);
  CHECK(meta.total.backward_flops == real.total.backward_flops);
  CHECK(meta.total.forward_bytes == real.total.forward_bytes);
  CHECK(meta.total.backward_bytes == real.total.backward_bytes);
  CHECK(meta.by_op.size() == real.by_op.size());
}

TEST_CASE("meter: the innermost one counts, and only while it lives") {
  const Tensor x = random({2, 2}, 1);
  const Meter outer;
  {
    const Meter inner;
    sigmoid(x);
    CHECK(inner.by_op.size() == 1);
  }
  CHECK(outer.by_op.empty());
  add(x, x);
  CHECK(outer.by_op.count("add") == 1);
  CHECK(Meter::current() == &outer);
}

TEST_CASE("nan watch: names op, layer, step and place of the first bad output") {
  const Tensor x = random({2, 3}, 1);
  put(x, 1, 2, 1000);
  const auto overflow = [&] {
    const LayerName layer("layers.3.mixer");
    pointwise(Pointwise::exp, x);
  };
  overflow();  // nobody watches
  const NanWatch watch(41);
  const std::string m = message_of<NumericalError>(overflow);
  for (const char* part : {"an output", "`exp`", "layers.3.mixer", "inf", "row 1, column 2", "[2, 3]", "step 41"})
    CHECK(m.find(part) != std::string::npos);
  CHECK(message_of<NumericalError>([&] { pointwise(Pointwise::exp, x); }).find("in the model") != std::string::npos);
  CHECK(message_of<NumericalError>([&] { sigmoid(x); }).empty());
}

TEST_CASE("nan watch: names the op and the layer whose backward made a bad gradient") {
  const Tensor x = random({2, 3}, 2);
  Tape tape;
  const Tensor leaf = tape.leaf(x);
  Tensor y;
  {
    const Tape::Recording recording(tape);
    const LayerName layer("layers.1.ffn");
    y = scale(scale(leaf, 0), 1e200);
  }
  const NanWatch watch(7);
  const std::string m = message_of<NumericalError>([&] { tape.backward(y, Tensor::full({2, 3}, DType::f64, 1e200)); });
  CHECK(m.find("an input gradient of op `scale` in layers.1.ffn holds inf") != std::string::npos);
}

TEST_CASE("nan watch: gradients of parameters are looked through too") {
  const Tensor x = Tensor::full({2, 3}, DType::f64, 1e200), w = Tensor::zeros({4, 3}, DType::f64);
  Tensor weight = Tensor::view_of(w.raw(), {4, 3}, DType::f64, 3);
  weight.slot = parameter_slot(0);
  ParamGrads grads;
  grads.views = {Tensor::empty({4, 3}, DType::f64)};
  grads.reset();
  ParamGrads::current = &grads;
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor y = linear(x, weight);
  const NanWatch watch(7);
  const std::string m = message_of<NumericalError>([&] { tape.backward(y, Tensor::full({2, 4}, DType::f64, 1e200)); });
  ParamGrads::current = nullptr;
  CHECK(m.find("a parameter gradient of op `linear`") != std::string::npos);
}

TEST_CASE("layer names nest") {
  CHECK(LayerName::current().empty());
  const LayerName outer("a");
  {
    const LayerName inner("b");
    CHECK(LayerName::current() == "b");
  }
  CHECK(LayerName::current() == "a");
}

// What gla and delta promise alike, with each of their options.
#include "cores/common/memories.h"

#include <limits>
#include <tuple>

#include "autodiff/meter.h"
#include "ops/arithmetic.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// f(memory) for each of them, with its name where it fails.
template <class F>
void for_each_memory(F&& f) {
  const Poison poison;
  for (const Memory& memory : all_memories()) {
    CAPTURE(memory.name);
    f(memory);
  }
}

Tensors at_tokens(Tensors x, int64_t from, int64_t to, const Tensor& state) {
  for (size_t i = 0; i < kState0; ++i) x[i] = tokens(x[i], from, to);
  x[kState0] = state;
  return x;
}
Tensors with(Tensors x, size_t i, const Tensor& t) {
  x[i] = t;
  return x;
}

}  // namespace

TEST_CASE("matrix memories: the whole, any split and single steps are the reference loop") {
  for_each_memory([](const Memory& memory) {
    for (const auto& [dk, dv] : {std::tuple{3, 5}, {16, 24}, {70, 65}, {1, 33}, {9, 8}}) {
      CAPTURE(dk);
      const Tensors x = memory.inputs(dk, dv), whole = memory.run(x), reference = memory.reference(x);
      for (size_t i : {0, 1}) CHECK(max_diff(whole[i], reference[i]) < 1e-13 * (1 + max_abs(reference[0])));
      CHECK(whole[1].is_dense());
      const auto part = [&](int64_t from, int64_t to, const Tensors& state) {
        return memory.run(at_tokens(x, from, to, state[0]));
      };
      expect_same_in_parts(part, {x[kState0]}, kMemoryTokens, 1e-13);
      const Tensor zero = Tensor::zeros(x[kState0].shape(), DType::f64);
      CHECK(same_bits(memory.run(with(x, kState0, {}))[0], memory.run(with(x, kState0, zero))[0]));
    }
  });
}

TEST_CASE("matrix memories: gradients through the initial and the final state, with documents and without") {
  for_each_memory([](Memory memory) {
    for (const Tensor& segments : {Tensor(), memory_documents()})
      for (int64_t chunk : {0, 4}) {
        CAPTURE(segments.defined());
        CAPTURE(chunk);
        memory.options.chunk = chunk;
        const Tensors x = memory.inputs(2, 3);
        expect_gradients(memory.function(segments), x);
        CHECK(gradient_error(memory.function(segments), with(x, kState0, {})) < 1e-7);
      }
  });
}

TEST_CASE("matrix memories: gradients of states of several panels, along one direction of all inputs") {
  for_each_memory([](const Memory& memory) {
    const Tensors x = memory.inputs(70, 65, 40, 1), all = memory.everything(x);
    double slope = 0;
    Tensors directions;
    for (size_t i = 0, g = 2; i < x.size(); ++i) {
      directions.push_back(x[i].defined() ? random(x[i].shape(), 50 + i) : x[i]);
      if (x[i].defined()) slope += dot(all[g++], directions[i]);
    }
    const auto loss = [&](double h) {  // weighed as the gradients are
      Tensors moved = x;
      for (size_t i = 0; i < x.size(); ++i)
        if (x[i].defined()) moved[i] = add(x[i], scale(directions[i], h));
      const Tensors y = memory.run(moved);
      return dot(y[0], random(y[0].shape(), 100)) + dot(y[1], random(y[1].shape(), 101));
    };
    const auto central = [&](double h) { return (loss(h) - loss(-h)) / (2 * h); };
    const double numeric = (4 * central(1e-6) - central(2e-6)) / 3;
    CHECK(std::abs(slope - numeric) < 1e-6 * (1 + std::abs(numeric)));
  });
}

TEST_CASE("matrix memories: gradients where one tensor is in several places add up") {
  for_each_memory([](const Memory& memory) {
    if (memory.options.key_heads > 0) return;  // keys and values differ in width
    const Tensors in = memory.inputs(2, 2);
    const auto shared = [&](const Tensors& x) {
      return memory.run({x[0], x[0], x[0], memory.delta ? x[1] : Tensor(), memory.decays() ? x[1] : Tensor(), x[2]});
    };
    const Tensor gate = memory.delta ? log_decays(in[3].shape(), 7) : in[kLogDecay];
    CHECK(gradient_error(shared, {in[1], gate, in[kState0]}) < 1e-7);
  });
}

TEST_CASE("matrix memories: a gradient over many anchors is right") {
  for_each_memory([](Memory memory) {
    if (memory.options.key_heads > 0) memory.options.key_heads = 1;
    memory.options.heads = memory.options.key_heads + 1;
    CHECK(gradient_error(memory.function(), memory.inputs(2, 3, 150, 1)) < 1e-7);
  });
}

TEST_CASE("matrix memories: packed documents are the reference loop's, and nothing is before a start") {
  for_each_memory([](const Memory& memory) {
    const Tensors x = memory.inputs(4, 6), packed = memory.everything(x, memory_documents()),
                  reference = memory.reference(x, memory_documents());
    for (size_t i : {0, 1}) CHECK(max_diff(packed[i], reference[i]) < 1e-13);
    // At a start nothing is there to decay: its gradient is zero, not rounding.
    const Tensor &d_decay = packed[packed.size() - 2], &d_state0 = packed.back();
    if (memory.decays())
      for (int64_t row : {3, 7, 8, 13, 21})
        for (int64_t c = 0; c < d_decay.cols(); ++c) CHECK(at(d_decay, row, c) == 0);
    // Row 1 begins with a start: nothing reaches its initial state.
    const int64_t heads = memory.options.heads;
    CHECK(max_abs(d_state0.row_range(heads * 4, {1, heads, 4, 6})) == 0);
    CHECK(max_abs(d_state0.row_range(0, {1, heads, 4, 6})) > 0);
  });
}

TEST_CASE("matrix memories: the chunk changes nothing beyond rounding") {
  for_each_memory([](Memory memory) {
    const Tensors x = memory.inputs(5, 6, 70), usual = memory.everything(x);
    for (int64_t chunk : {1, 3, 16, 100}) {
      memory.options.chunk = chunk;
      expect_near(memory.everything(x), usual, 1e-12);
    }
  });
}

TEST_CASE("matrix memories: log decays of 0, -40, -1e4 and -infinity neither overflow nor blur") {
  for_each_memory([](const Memory& memory) {
    if (!memory.decays()) return;
    const Tensors x = memory.inputs(4, 6, 30);
    const Tensor& decay = x[kLogDecay];
    const double kinds[] = {0, -40, -1e4, -0.1, -std::numeric_limits<double>::infinity(), 0, 0, -5};
    for (int64_t r = 0; r < decay.rows(); ++r)
      for (int64_t c = 0; c < decay.cols(); ++c) put(decay, r, c, kinds[(r * 5 + c * 3) % 8]);
    const Tensors all = memory.everything(x), reference = memory.reference(x);
    CHECK(max_diff(all[0], reference[0]) < 1e-13 * (1 + max_abs(reference[0])));
    for (const Tensor& t : all) CHECK(max_diff(t, t) == 0);  // no NaN
    CHECK(max_diff(memory.run(inputs_as(x, DType::f32))[0], reference[0]) < 1e-5 * (1 + max_abs(reference[0])));
    // Finite ones of the same kinds against differences of the loss.
    mapped(decay, [](double a) { return std::isinf(a) ? -1e4 : a; });
    CHECK(gradient_error(memory.function(), x) < 1e-7);
  });
}

TEST_CASE("matrix memories: f32 is near f64, forward and backward") {
  for_each_memory([](const Memory& memory) {
    const Tensors x = memory.inputs(32, 48, 200, 1);
    expect_near(memory.everything(inputs_as(x, DType::f32)), memory.everything(x), 1e-4);
  });
}

TEST_CASE("matrix memories: the same bits for any number of threads") {
  for_each_memory(
      [](const Memory& memory) { expect_same_bits_on_threads(memory.function(), memory.inputs(16, 64, 90)); });
}

TEST_CASE("matrix memories: keep their inputs and errors, state their cost, work on padded states and on shapes") {
  for_each_memory([](const Memory& memory) {
    const Tensors x = memory.inputs(4, 64);  // rows of 512 bytes: a state of its own would be padded
    CHECK_FALSE(x[kState0].is_dense());
    const Tensors whole = memory.run(x), reference = memory.reference(x);
    CHECK(whole[1].is_dense());
    CHECK(max_diff(whole[1], reference[1]) < 1e-13 * (1 + max_abs(reference[1])));
    {
      Tape tape;
      const Tape::Recording recording(tape);
      const Tensors results = memory.run(with(x, 0, tape.leaf(x[0])));
      size_t bytes = memory.delta ? x[2].buffer()->bytes : 0;  // of errors
      for (const Tensor& t : x)
        if (t.defined()) bytes += t.buffer()->bytes;
      CHECK(tape.kept_bytes() == bytes);
    }
    const Meter meter;
    const MetaMode meta;
    Tensors shapes;
    for (const Tensor& t : with(x, kState0, {}))
      shapes.push_back(t.defined() ? Tensor::empty(t.shape(), DType::f32) : t);
    memory.run(shapes);
    const double heads = static_cast<double>(memory.options.heads);
    CHECK(meter.total.forward_flops == (memory.delta ? 6.0 : 4.0) * 4 * 64 * heads * 2 * kMemoryTokens);
    CHECK(meter.total.backward_flops == 3 * meter.total.forward_flops);
  });
}

TEST_CASE("matrix memories: refuse shapes and options that don't fit") {
  for_each_memory([](Memory memory) {
    const Tensors x = memory.inputs(4, 6);
    const auto refused = [&](size_t i, const Tensor& t) { CHECK_THROWS_AS(memory.run(with(x, i, t)), ShapeError); };
    CHECK_THROWS_WITH_AS(memory.run(with(x, 1, random({2, 13, 6}, 1))), doctest::Contains("k[2, 13, 6]"), ShapeError);
    refused(2, to_dtype(x[2], DType::f32));
    refused(kLogDecay, random({2, 13, 10}, 1));
    refused(kState0, random({2, memory.options.heads, 6, 4}, 1));
    CHECK_THROWS_AS(memory.run(x, random({2, 13}, 1)), ShapeError);
    if (memory.delta) {
      CHECK_THROWS_WITH_AS(memory.run(with(x, 3, random({2, 13, 8}, 1))), doctest::Contains("it should be [2, 13, 2]"),
                           ShapeError);
      refused(3, Tensor());
    } else if (memory.decays()) {
      refused(kLogDecay, Tensor());
      memory.options.decay = Decay::none;
      CHECK_THROWS_AS(memory.run(x), ShapeError);
      memory.options.decay = Decay::value;
      CHECK_THROWS_AS(memory.run(x), ShapeError);
    }
    memory.options.heads = 3;
    CHECK_THROWS_AS(memory.run(x), ShapeError);
  });
}

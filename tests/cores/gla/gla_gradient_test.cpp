// Gradients of gla, through both states and documents too.
#include "cores/common/reference.h"
#include "cores/gla/gla_inputs.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("gla: gradients through the initial and the final state, with documents and without") {
  const Poison poison;
  for (GlaOptions options : all_gla_options())
    for (const Tensor& segments : {Tensor(), gla_documents()})
      for (int64_t chunk : {0, 4}) {
        CAPTURE(static_cast<int>(options.decay));
        CAPTURE(options.exclusive);
        CAPTURE(segments.defined());
        CAPTURE(chunk);
        options.chunk = chunk;
        const GlaInputs in(options, 2, 3);
        if (chunk > 0) {
          CHECK(gradient_error(both_results(options, segments), in.list()) < 1e-7);
          continue;
        }
        expect_gradients(both_results(options, segments), in.list());
        auto no_state = in.list();
        no_state[4] = Tensor();
        CHECK(gradient_error(both_results(options, segments), no_state) < 1e-7);
      }
}

TEST_CASE("gla: gradients where one tensor is in several places") {
  const Poison poison;
  for (const GlaOptions& options : all_gla_options()) {
    CAPTURE(static_cast<int>(options.decay));
    CAPTURE(options.exclusive);
    if (options.key_heads > 0) continue;
    const GlaInputs in(options, 2, 2);
    // One tensor in three places: gradients add up.
    const auto shared = [&](const Tensors& x) { return both_results(options)({x[0], x[0], x[0], x[1], x[2]}); };
    CHECK(gradient_error(shared, {in.q, in.log_decay, in.state0}) < 1e-7);
  }
}

TEST_CASE("gla: a gradient over many anchors is right, f64") {
  for (GlaOptions options : all_gla_options()) {
    if (options.key_heads > 0) options.key_heads = 1;
    options.heads = options.key_heads + 1;
    const GlaInputs in(options, 2, 3, 150, 1);
    CHECK(gradient_error(both_results(options), in.list()) < 1e-7);
  }
}

TEST_CASE("gla: packed documents are each alone, gradients too") {
  for (const GlaOptions& options : all_gla_options()) {
    CAPTURE(static_cast<int>(options.decay));
    CAPTURE(options.exclusive);
    const GlaInputs in(options, 4, 6);
    const Tensors packed = everything(in, gla_documents(), options);
    const GlaResult reference = reference_gla(in.q, in.k, in.v, in.log_decay, in.state0, gla_documents(), options);
    CHECK(max_diff(packed[0], reference.o) < 1e-13);
    CHECK(max_diff(packed[1], reference.state) < 1e-13);
    // The last document of row 0 is tokens 8 .. 12; alone it starts from nothing.
    const auto row0 = [](const Tensor& t) {
      return t.defined() ? tokens(t, 8, 13).row_range(0, {1, 5, t.cols()}).clone() : t;
    };
    Tape tape;
    const Tape::Recording recording(tape);
    Tensors x;
    for (const Tensor& t : {in.q, in.k, in.v, in.log_decay}) x.push_back(t.defined() ? tape.leaf(row0(t)) : t);
    const GlaResult alone = gla(x[0], x[1], x[2], x[3], {}, {}, options);
    const Tape::Seed seeds[] = {
        {alone.o, row0(random(in.v.shape(), 100))},
        {alone.state, random(in.state0.shape(), 101).row_range(0, alone.state.shape()).clone()}};
    tape.backward(seeds);
    CHECK(max_diff(row0(packed[0]), alone.o) < 1e-13);
    for (size_t i = 0; i < 4; ++i)
      if (x[i].defined()) CHECK(max_diff(row0(packed[2 + i]), tape.grad(x[i])) < 1e-13);
    // At a start nothing is there to decay: its gradient is zero, not rounding.
    if (options.decay != Decay::none)
      for (int64_t row : {3, 7, 8, 13, 21})
        for (int64_t c = 0; c < in.log_decay.cols(); ++c) CHECK(at(packed[5], row, c) == 0);
    // Row 1 begins with a start: nothing reaches its initial state.
    const Tensor d_state0 = packed.back();
    const int64_t h = options.heads;
    CHECK(max_abs(d_state0.row_range(h * 4, {1, h, 4, 6})) == 0);
    CHECK(max_abs(d_state0.row_range(0, {1, h, 4, 6})) > 0);
  }
}

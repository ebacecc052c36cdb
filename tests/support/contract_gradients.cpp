// Gradients are right, through states and documents too, and training follows them.
#include <doctest/doctest.h>

#include <cmath>

#include "ops/arithmetic.h"
#include "support/contract_parts.h"

namespace effllm::test {

// carried: through a first call and a second one that continues, so that initial and final states carry gradients too;
// otherwise in one call without a state. packed: rows of two documents each, computed in chunks.
void check_gradients(const Built& m, const LayerInfo& info, Phase phase, bool carried, bool packed, int64_t width) {
  const int64_t n = length(info), cut = info.period + 1;
  const Tensor x = random({kBatch, n, width}, 2);
  const Tensor segments = two_documents({std::max<int64_t>(1, info.period - 1), info.period + 2}, n);
  std::vector<std::pair<int64_t, int64_t>> calls = {{0, n}};
  if (carried) calls = {{0, cut}, {cut, n}};
  Tensors values;
  for (Parameter* p : m.store.sorted()) values.push_back(p->value);
  // A directional derivative over x and all parameters at once.
  Tensors directions = {random(x.shape(), 5)};
  for (size_t i = 0; i < values.size(); ++i) directions.push_back(random(values[i].shape(), 50 + i));
  const auto inputs = [&] {
    Tensors in;
    for (const auto& [from, to] : calls) in.push_back(tokens(x, from, to));
    return in;
  };
  const auto run = [&](const Tensors& in) {
    State s;
    if (carried) s = m.mixer->make_state(kBatch, n, DType::f64);
    Tensors y;
    for (size_t i = 0; i < in.size(); ++i) {
      const Tensor documents = segments_of_call(segments, calls[i].first, calls[i].second);
      y.push_back(m.forward(in[i], carried ? &s : nullptr, packed ? &documents : nullptr, packed ? 3 : 0, phase));
    }
    s.each([&](const StateField& f, const Tensor& t) {
      if (!f.count && t.numel() > 0) y.push_back(t);
    });
    return y;
  };
  const auto weight = [&](size_t i, const Tensor& y) { return random(y.shape(), 90 + i); };
  Slab slab(m.store.slab_elements(), DType::f64);
  ParamGrads grads = m.store.gradients(slab);
  double analytic = 0;
  {
    Tape tape;
    ParamGrads::current = &grads;
    Tensors leaves;
    for (const Tensor& in : inputs()) leaves.push_back(tape.leaf(in));
    std::vector<Tape::Seed> seeds;
    {
      const Tape::Recording recording(tape);
      const Tensors y = run(leaves);
      for (size_t i = 0; i < y.size(); ++i)  // what nothing has computed has no gradient
        if (y[i].slot != kUntracked) seeds.push_back({y[i], weight(i, y[i])});
    }
    tape.backward(seeds);
    ParamGrads::current = nullptr;
    grads.zero_unwritten();
    for (size_t i = 0; i < calls.size(); ++i)
      analytic += dot(tape.grad(leaves[i]), tokens(directions[0], calls[i].first, calls[i].second));
    for (size_t i = 0; i < values.size(); ++i) analytic += dot(grads.views[i], directions[i + 1]);
  }
  const auto shift = [&](double h) {
    for (size_t i = 0; i < directions.size(); ++i) {
      const Tensor& v = i ? values[i - 1] : x;
      for (int64_t r = 0; r < v.rows(); ++r)
        for (int64_t c = 0; c < v.cols(); ++c) put(v, r, c, at(v, r, c) + h * at(directions[i], r, c));
    }
  };
  const auto loss = [&] {
    const Tensors y = run(inputs());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += dot(y[i], weight(i, y[i]));
    return sum;
  };
  constexpr double kStep = 1e-6;
  const auto slope = [&](double h) {  // of central differences
    shift(h);
    const double up = loss();
    shift(-2 * h);
    const double down = loss();
    shift(h);
    return (up - down) / (2 * h);
  };
  const double numeric = (4 * slope(kStep) - slope(2 * kStep)) / 3;  // without the error of second order
  INFO("continued ", carried, ", documents ", packed, ": analytic ", analytic, " numeric ", numeric);
  CHECK(std::abs(analytic - numeric) <= 1e-7 * std::max(1.0, std::abs(numeric)));
}

// Plain gradient descent on one batch towards random targets: the error halves within 30 steps.
void check_learns(const LayerInfo& info, const ConfigNode& node) {
  Built m(info, node, kWidth, DType::f64, 11);
  const int64_t n = length(info);
  const Tensor x = random({kBatch, n, kWidth}, 2), target = m.forward(x).clone();
  m.shake(0.2);
  Slab slab(m.store.slab_elements(), DType::f64), mean(m.store.slab_elements(), DType::f64),
      square(m.store.slab_elements(), DType::f64);
  const auto error = [&] {
    const Tensor y = m.forward(x), difference = add(y, scale(target, -1));
    return dot(difference, difference);
  };
  const double first = error();
  for (m.step = 0; m.step <= 30; ++m.step) {
    ParamGrads grads = m.store.gradients(slab);
    ParamGrads::current = &grads;
    Tape tape;
    Tensor seed;
    {
      const Tape::Recording recording(tape);
      const Tensor y = m.forward(x, nullptr, nullptr, 0, Phase::train);
      seed = Tensor::empty(y.shape(), DType::f64);
      for (int64_t r = 0; r < y.rows(); ++r)
        for (int64_t c = 0; c < y.cols(); ++c) {
          const double d = at(y, r, c) - at(target, r, c);
          put(seed, r, c, 2 * d);
        }
      if (y.slot != kUntracked) tape.backward(y, seed);  // all may be left out
    }
    ParamGrads::current = nullptr;
    grads.zero_unwritten();
    for (int64_t i = 0; i < slab.elements(); ++i) {  // Adam
      double &g = slab.data<double>()[i], &a = mean.data<double>()[i], &b = square.data<double>()[i];
      a = 0.9 * a + 0.1 * g;
      b = 0.99 * b + 0.01 * g * g;
      const auto t = static_cast<double>(m.step + 1);
      m.store.values().data<double>()[i] -=
          0.03 * (a / (1 - std::pow(0.9, t))) / (std::sqrt(b / (1 - std::pow(0.99, t))) + 1e-8);
    }
  }
  CHECK(error() < first / 2);
}

}  // namespace effllm::test

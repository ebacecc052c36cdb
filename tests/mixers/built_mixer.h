// A mixer with its parameters, for tests of one mechanism.
#pragma once
#include <doctest/doctest.h>

#include <string>

#include "autodiff/meter.h"
#include "mixers/mixer.h"
#include "support/tensors.h"

namespace effllm::test {

struct BuiltMixer {
  ParamStore store;
  std::unique_ptr<SequenceMixer> mixer;
  explicit BuiltMixer(std::string_view yaml, int64_t width,
                      MixerArgs args = {.d_model = 0, .layer = 0, .layers = 2, .max_tokens = 64}) {
    args.d_model = width;
    mixer = build_mixer(parse_config(yaml, "test"), args, Scope(store));
    store.materialize(3, DType::f64);
  }
  const Parameter& operator[](std::string_view name) const {
    const Parameter* p = store.find(name);
    REQUIRE_MESSAGE(p != nullptr, std::string(name));
    return *p;
  }
  double least(std::string_view name) const {
    return extreme(name, [](double a, double b) { return b < a; });
  }
  double most(std::string_view name) const {
    return extreme(name, [](double a, double b) { return b > a; });
  }
  double deviation(std::string_view name) const {  // root mean square
    const Tensor& v = (*this)[name].value;
    return std::sqrt(dot(v, v) / static_cast<double>(v.numel()));
  }
  // Adds noise, so that every path matters in a comparison.
  void shake(double scale) {
    for (Parameter* p : store.sorted()) {
      const Tensor noise = random(p->shape, fnv1a(p->name), DType::f64, scale);
      for (int64_t r = 0; r < p->value.rows(); ++r)
        for (int64_t c = 0; c < p->value.cols(); ++c) put(p->value, r, c, at(p->value, r, c) + at(noise, r, c));
    }
  }
  Cost forward_cost(const Tensor& x) const {
    Meter meter;
    mixer->forward(x, {});
    return meter.total;
  }
  double step_flops(MixerState& s, int64_t width) const {
    Context cx;
    cx.state = &s;
    Meter meter;
    mixer->step(random({1, width}, 9), cx);
    return meter.total.dense_flops;
  }

 private:
  template <class Better>
  double extreme(std::string_view name, Better better) const {
    const Tensor& v = (*this)[name].value;
    double e = at(v, 0, 0);
    for (int64_t r = 0; r < v.rows(); ++r)
      for (int64_t c = 0; c < v.cols(); ++c)
        if (better(e, at(v, r, c))) e = at(v, r, c);
    return e;
  }
};

}  // namespace effllm::test

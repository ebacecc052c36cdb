// One mixer or channel mixer with its parameters, for tests of how it starts, what it costs and what it does.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "autodiff/meter.h"
#include "config/yaml.h"
#include "mixers/mixer.h"
#include "support/tensors.h"

namespace effllm::test {

struct BuiltMixer {
  ParamStore store;
  std::unique_ptr<Layer> mixer;

  // yaml: a map with a `type`.
  explicit BuiltMixer(std::string_view yaml, int64_t width,
                      LayerArgs args = {.d_model = 0, .layer = 0, .layers = 2, .max_tokens = 64}) {
    args.d_model = width;
    mixer = all_mixers.read(parse_config(yaml, "test")).build(args, Scope(store));
    store.materialize(3, DType::f64);
  }
  // yaml: options of this mechanism.
  BuiltMixer(const LayerInfo& info, std::string_view yaml, int64_t width, int64_t layer = 0, int64_t layers = 1) {
    const auto options = info.options();
    read(*options, parse_config(yaml, "test"), info.name);
    mixer = info.build(*options,
                       {.d_model = width,
                        .layer = layer,
                        .layers = layers,
                        .max_tokens = 64,
                        .index_of_kind = layer,
                        .layers_of_kind = layers},
                       Scope(store));
    store.materialize(3, DType::f64);
  }
  BuiltMixer(std::string_view name, std::string_view yaml, int64_t width, int64_t layer = 0, int64_t layers = 1)
      : BuiltMixer(all_mixers.find(name), yaml, width, layer, layers) {}

  const Parameter& operator[](std::string_view name) const {
    const Parameter* p = store.find(name);
    REQUIRE_MESSAGE(p != nullptr, std::string(name));
    return *p;
  }
  // Least and largest f(value).
  std::pair<double, double> range(std::string_view name, const std::function<double(double)>& f = {}) const {
    const Tensor& t = (*this)[name].value;
    std::pair<double, double> r{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
    for (int64_t i = 0; i < t.rows(); ++i)
      for (int64_t j = 0; j < t.cols(); ++j) {
        const double x = f ? f(at(t, i, j)) : at(t, i, j);
        r = {std::min(r.first, x), std::max(r.second, x)};
      }
    return r;
  }
  double least(std::string_view name) const { return range(name).first; }
  double most(std::string_view name) const { return range(name).second; }
  bool all(std::string_view name, double value) const { return range(name) == std::pair{value, value}; }
  double deviation(std::string_view name) const {  // root mean square
    const Tensor& v = (*this)[name].value;
    return std::sqrt(dot(v, v) / static_cast<double>(v.numel()));
  }
  // Names of the parameters without weight decay, in order.
  std::vector<std::string> undecayed() const {
    std::vector<std::string> names;
    for (const Parameter* p : store.sorted())
      if (!p->traits.decay) names.push_back(p->name);
    return names;
  }
  // Adds noise, so that every path matters in a comparison.
  void shake(double scale) {
    for (Parameter* p : store.sorted()) {
      const Tensor noise = random(p->shape, fnv1a(p->name), DType::f64, scale);
      for (int64_t r = 0; r < p->value.rows(); ++r)
        for (int64_t c = 0; c < p->value.cols(); ++c) put(p->value, r, c, at(p->value, r, c) + at(noise, r, c));
    }
  }

  // Uniform within the bound: no number beyond, and the largest near it.
  void check_uniform(std::string_view name, double bound, double near = 0.9) const {
    CAPTURE(std::string(name));
    CHECK(max_abs((*this)[name].value) <= bound);
    CHECK(max_abs((*this)[name].value) > near * bound);
  }
  // Root mean square up to a share; doctest's Approx would allow as much of one and more.
  void check_deviation(std::string_view name, double want, double share) const {
    CAPTURE(std::string(name));
    CHECK(deviation(name) >= want * (1 - share));
    CHECK(deviation(name) <= want * (1 + share));
  }
  // All are this, and are not pulled towards zero.
  void check_free(std::string_view name, double value) const {
    CAPTURE(std::string(name));
    CHECK(all(name, value));
    CHECK_FALSE((*this)[name].traits.decay);
  }

  Tensor forward(const Tensor& x) const {
    Context cx;
    cx.ids = ids_of(x);
    return mixer->forward(x, cx);
  }
  Tensor forward(const Tensor& x, State& s) const {
    Context cx;
    cx.ids = ids_of(x);
    cx.state = &s;
    return mixer->forward(x, cx);
  }
  // Bytes of the state of a sequence, in f32.
  int64_t bytes(int64_t tokens) const { return site_of(*mixer)->bytes(tokens, DType::f32); }
  // What one forward pass counts, and one step after the tokens of a state.
  Cost forward_cost(const Tensor& x) const {
    Meter meter;
    forward(x);
    return meter.total;
  }
  double forward_flops(int64_t batch, int64_t tokens, int64_t width) const {
    return forward_cost(random({batch, tokens, width}, 1)).forward_flops;
  }
  double step_flops(State& s, int64_t width) const {
    Meter meter;
    forward(random({1, 1, width}, 9), s);
    return meter.total.dense_flops;
  }
};

}  // namespace effllm::test

// One mixer or channel mixer with its parameters, for tests of how it starts and what it costs.
#pragma once
#include <algorithm>
#include <functional>
#include <limits>
#include <string_view>
#include <vector>

#include "autodiff/meter.h"
#include "config/yaml.h"
#include "nn/sequence_mixer.h"
#include "support/tensors.h"

namespace effllm::test {

struct MixerFacts {
  ParamStore store;
  std::unique_ptr<Options> options;
  std::unique_ptr<SequenceMixer> mixer;

  MixerFacts(const MixerInfo& info, std::string_view yaml, int64_t width, int64_t layer = 0, int64_t layers = 1)
      : options(info.options()) {
    read(*options, parse_config(yaml, "test"), info.name);
    mixer = info.build(*options,
                       {.d_model = width,
                        .layer = layer,
                        .layers = layers,
                        .max_tokens = 64,
                        .index_of_kind = layer,
                        .layers_of_kind = layers},
                       Scope(store));
    store.materialize(7, DType::f64);
  }
  const Parameter& parameter(std::string_view name) const {
    const Parameter* p = store.find(name);
    require(p, "no parameter `{}`", name);
    return *p;
  }
  // Least and largest f(value).
  std::pair<double, double> range(std::string_view name, const std::function<double(double)>& f = {}) const {
    const Tensor& t = parameter(name).value;
    std::pair<double, double> r{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
    for (int64_t i = 0; i < t.rows(); ++i)
      for (int64_t j = 0; j < t.cols(); ++j) {
        const double x = f ? f(at(t, i, j)) : at(t, i, j);
        r = {std::min(r.first, x), std::max(r.second, x)};
      }
    return r;
  }
  bool all(std::string_view name, double value) const { return range(name) == std::pair{value, value}; }
  // Names of the parameters without weight decay, in order.
  std::vector<std::string> undecayed() const {
    std::vector<std::string> names;
    for (const Parameter* p : store.sorted())
      if (!p->traits.decay) names.push_back(p->name);
    return names;
  }
  // What one forward pass over [batch, tokens] counts.
  double forward_flops(int64_t batch, int64_t tokens, int64_t width) const {
    const Meter meter;
    mixer->forward(random({batch, tokens, width}, 1), {});
    return meter.total.forward_flops;
  }
};

}  // namespace effllm::test

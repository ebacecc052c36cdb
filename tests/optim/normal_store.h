// Parameters for tests of optimizers, each of normal numbers.
#pragma once
#include <initializer_list>
#include <string>

#include "nn/param_store.h"

namespace effllm::test {

struct NormalParameter {
  std::string name;
  Shape shape;
  Traits traits = {};
};

struct NormalStore {
  ParamStore params;
  NormalStore(std::initializer_list<NormalParameter> all, DType type) {
    for (const NormalParameter& p : all) params.add(p.name, p.shape, Init::normal(1), p.traits);
    params.materialize(1, type);
  }
};

}  // namespace effllm::test

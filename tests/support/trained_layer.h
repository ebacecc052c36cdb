// One pass of a layer by itself as a step of training makes it, and what it adds up.
#pragma once
#include "mixers/built_mixer.h"
#include "nn/ledger.h"

namespace effllm::test {

struct TrainedLayer {
  Tensor y;
  Ledger ledger;
  double operator[](std::string_view name) const {
    for (const Measured& m : ledger.rows())
      if (m.name == name) return m.value;
    FAIL("no row " << name);
    return 0;
  }
};
inline TrainedLayer train(const BuiltMixer& m, const Tensor& x) {
  TrainedLayer s{{}, Ledger(x.rows(), x.rows())};
  Context cx;
  cx.ids = ids_of(x);
  cx.phase = Phase::train;
  cx.ledger = &s.ledger;
  s.y = m.mixer->forward(x, cx);
  return s;
}

}  // namespace effllm::test

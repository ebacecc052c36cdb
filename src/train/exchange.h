// How the sums of a step meet: every lane has a gradient, a loss and a ledger of its own, and what the whole batch has
// is their sum in a fixed binary tree. The number of lanes alone decides on the order of additions, and so on the bits.
#pragma once
#include <deque>

#include "nn/ledger.h"
#include "nn/param_store.h"

namespace effllm {

// What a lane adds to a step.
struct LaneSums {
  explicit LaneSums(const ParamStore& params)
      : gradient(params.slab_elements(), params.dtype()), parameters(params.gradients(gradient)) {}
  Slab gradient;
  ParamGrads parameters;  // views of it
  double loss = 0;
  Ledger ledger;
};

// What they come to: in lane 0's place.
struct StepSums {
  const Slab& gradient;
  double loss, norm;  // of the gradient
  const Ledger& ledger;
};

class Exchange {
 public:
  Exchange(const ParamStore& params, size_t lanes);
  size_t lanes() const { return sums_.size(); }
  LaneSums& lane(size_t i) { return sums_[i]; }
  // Node i of the tree is added to by the node `step` lanes on, for steps of 1, 2, 4 ...; losses in the lanes' order.
  StepSums meet();

 private:
  template <class T>
  double add_gradients();      // returns the norm
  std::deque<LaneSums> sums_;  // whose addresses stay
};

}  // namespace effllm

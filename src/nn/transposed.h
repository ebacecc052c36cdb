// Transposed copies of the weights of dense layers: y = x W^T runs a tenth faster from W^T, since the library packs a
// row-major right-hand side with less work. They are true while nobody changes a weight: within a training step.
#pragma once
#include <memory>

#include "nn/param_store.h"

namespace effllm {

class TransposedWeights {
 public:
  explicit TransposedWeights(ParamStore& store);  // materialized already
  // Whether a step of so many tokens gains more than the copy costs: 8 bytes a weight against a tenth of 2 FLOPs a
  // token.
  static bool pay(int64_t tokens) { return tokens >= 256; }
  // While alive, Parameter::transposed of every dense weight holds its values of this moment.
  class Fresh {
   public:
    explicit Fresh(TransposedWeights& all);
    ~Fresh();
    Fresh(const Fresh&) = delete;
    Fresh& operator=(const Fresh&) = delete;

   private:
    TransposedWeights& all_;
  };

 private:
  struct Copy {
    Parameter* of;
    Tensor into;
  };
  struct Piece {
    size_t copy;
    int64_t from, to;  // rows of the weight
  };
  std::unique_ptr<Slab> memory_;
  std::vector<Copy> copies_;
  std::vector<Piece> pieces_;
};

}  // namespace effllm

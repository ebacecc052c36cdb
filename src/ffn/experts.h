// Perceptrons side by side, each for the tokens that are sent to it.
#pragma once
#include "config/options.h"
#include "nn/linear.h"
#include "ops/pointwise.h"

namespace effllm {

struct ExpertOptions : Options {
  double expand = 8.0 / 3;
  std::string activation = "swiglu";
  void visit(OptionVisitor& v) override;
  int64_t inner(int64_t d_model) const;
};

// One for all tokens, whose inner width is that of `count` experts.
class SharedExpert {
 public:
  SharedExpert(const ExpertOptions& o, int64_t d_model, int64_t count, const Scope& s);
  Tensor operator()(const Tensor& x) const;  // [.., D] -> [.., D]

 private:
  bool gated_;
  Pointwise f_;
  Linear up_, down_;
};

class Experts {
 public:
  // `count` of them, of which a token goes to `active` as a rule.
  Experts(const ExpertOptions& o, int64_t d_model, int64_t count, double active, const Scope& s);
  // The sum over j of weights_j f_{experts_j}(x). x: [B, T, D]; experts: i64 [B, T, k], -1 for none; weights: [B, T,
  // k]; `known`: how many choices these are, where shapes tell, or 0; `most_each`: as Routing's, for costs.
  Tensor operator()(const Tensor& x, const Tensor& experts, const Tensor& weights, int64_t known = 0,
                    int64_t most_each = 0) const;

 private:
  int64_t count_;
  double active_;
  bool gated_;
  Pointwise f_;
  Parameter *up_, *down_;
};

}  // namespace effllm

// Experts without products: those that answer what they are given, a mean of it and a vector of their own, or nothing.
// Jin et al. 2024, arXiv:2410.07348.
#pragma once
#include "config/options.h"
#include "nn/param_store.h"

namespace effllm {

struct PlainExpertOptions {
  int64_t constants = 0, copies = 0, zeros = 0;
  void visit(OptionVisitor& v);
  int64_t count() const { return constants + copies + zeros; }
};

class PlainExperts {
 public:
  PlainExperts(const PlainExpertOptions& o, int64_t d_model, const Scope& s);
  // weights: [B, T, constants + copies], 0 where an expert was not chosen.
  Tensor operator()(const Tensor& x, const Tensor& weights) const;

 private:
  PlainExpertOptions o_;
  Parameter *mix_ = nullptr, *vectors_ = nullptr;
};

}  // namespace effllm

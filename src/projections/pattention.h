// Attention over tokens that are parameters: Wang et al. 2024, arXiv:2410.23168, TokenFormer.
#pragma once
#include <optional>
#include <string>

#include "nn/layer.h"
#include "nn/linear.h"

namespace effllm {

struct PattentionOptions : Options {
  std::optional<int64_t> tokens, scale_tokens;
  std::string nonlinearity = "l2_norm_gelu";
  std::optional<double> norm_eps;
  void visit(OptionVisitor& v) override;

  virtual int64_t usual_tokens() const { return 1; }  // as a multiple of the model width
  int64_t count(int64_t d_model) const { return tokens.value_or(usual_tokens() * d_model); }
  bool has_norm() const;   // of lengths
  bool has_scale() const;  // asks the number of tokens
  // A token whose key is zero adds nothing, and changes no other's share.
  bool ignores_zeros() const;
};

// y = V^T Theta(K x), K: [n, in], V: [n, out], without offsets: a token of the n has a row of `keys.weight` and a
// column of `values.weight`.
class Pattention {
 public:
  // Values start with a spread of 2 / (layers sqrt(d_model)).
  Pattention(const PattentionOptions& o, int64_t in, int64_t out, const LayerArgs& args, const Scope& s,
             Role role = Role::hidden);
  Tensor operator()(const Tensor& x) const;  // [.., in] -> [.., out]

 private:
  enum class Theta { l2_norm_gelu, gelu_l2_norm, gelu, softmax };
  int64_t tokens_;
  Theta theta_;
  double length_, factor_, eps_;
  Linear keys_, values_;
};

}  // namespace effllm

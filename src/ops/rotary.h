// Rotary position embedding. Su et al. 2021, arXiv:2104.09864.
#pragma once
#include <memory>
#include <vector>

#include "autodiff/op.h"

namespace effllm {

// cos and sin of p * theta^(-2i/dim) for positions p and i < dim/2, in both float types, made once and read by all
// threads. Positions beyond the table are computed when they come.
class RotaryTable {
 public:
  RotaryTable(int64_t dim, double theta, int64_t positions);
  int64_t dim() const { return dim_; }
  int64_t positions() const { return positions_; }
  // Writes the dim/2 cosines and sines of each position.
  template <class T>
  void rows(const int64_t* position, int64_t n, T* cosines, T* sines) const;

 private:
  double angle(int64_t position, int64_t i) const {
    return static_cast<double>(position) * frequency_[static_cast<size_t>(i)];
  }
  int64_t dim_, positions_;
  std::vector<double> frequency_, cos64_, sin64_;
  std::vector<float> cos32_, sin32_;
};

// Rotates pairs (i, i + dim/2) of every head ("half-split" pairs, as in GPT-NeoX and Llama). x: [B, T, heads *
// head_dim]; positions: i64 [B, T].
Tensor rotary(const Tensor& x, const Tensor& positions, int64_t heads, std::shared_ptr<const RotaryTable> table);

}  // namespace effllm

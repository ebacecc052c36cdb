// Rotary position embedding. Su et al. 2021, arXiv:2104.09864.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "autodiff/op.h"

namespace effllm {

// cos and sin of p * theta^(-2i/dim) for positions p and i < dim/2. A float type's values are made when they are first
// asked for, shared by all tables of the same sizes, and read by all threads: a model that is only described takes no
// memory for them. Positions beyond the table are computed when they come, as are those of a very long one.
class RotaryTable {
 public:
  RotaryTable(int64_t dim, double theta, int64_t positions);
  int64_t dim() const { return dim_; }
  int64_t positions() const { return positions_; }  // in the table, at most kMostNumbers / (dim / 2)
  void count_meta() const;                          // tells the pool of its size, in meta mode
  // Writes the dim/2 cosines and sines of each position.
  template <class T>
  void rows(const int64_t* position, int64_t n, T* cosines, T* sines) const;

 private:
  static constexpr int64_t kMostNumbers = int64_t{1} << 22;  // 32 MiB of cosines and sines in f32
  template <class T>
  struct Values {
    std::vector<T> cosines, sines;  // [positions, dim/2]
  };
  template <class T>
  struct Lazy {
    std::once_flag made;
    std::shared_ptr<const Values<T>> values;
  };
  template <class T>
  const Values<T>& values() const;
  template <class T>
  std::shared_ptr<const Values<T>> shared_values() const;
  double angle(int64_t position, int64_t i) const {
    return static_cast<double>(position) * frequency_[static_cast<size_t>(i)];
  }
  int64_t dim_, positions_;
  double theta_;
  std::vector<double> frequency_;
  mutable Lazy<float> f32_;
  mutable Lazy<double> f64_;
};

// Rotates pairs (i, i + dim/2) of every head ("half-split" pairs, as in GPT-NeoX and Llama), from its column `first`
// on. x: [B, T, heads * head_dim]; positions: i64 [B, T].
Tensor rotary(const Tensor& x, const Tensor& positions, int64_t heads, std::shared_ptr<const RotaryTable> table,
              int64_t first = 0);

}  // namespace effllm

// What a step adds up beside the loss of its objective: auxiliary losses, by what they are and where.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "store/metrics.h"
#include "tensor/tensor.h"

namespace effllm {

// Named sums; two ledgers add up. By name, never by address: who adds may have models of their own.
class Ledger {
 public:
  // `targets` of the whole batch, known before the first forward: what every loss is divided by.
  explicit Ledger(int64_t targets = 0) : targets_(targets) {}

  // A loss summed over the tokens at hand, [1] f64, and not a number yet on shapes alone. Backward starts from it too,
  // where a tape records, with weight / targets; what is reported is its mean.
  void loss(std::string_view site, const Metric& metric, const Tensor& sum, double weight);
  Ledger& operator+=(const Ledger& other);
  int64_t targets() const { return targets_; }
  std::vector<Measured> rows() const;  // the means, in the order of their names: "layers.3.ffn.balance"

 private:
  struct Sum {
    const Metric* metric = nullptr;
    double value = 0;
  };
  std::map<std::string, Sum, std::less<>> sums_;
  double per_target() const { return targets_ > 0 ? 1.0 / static_cast<double>(targets_) : 0; }
  int64_t targets_;
};

}  // namespace effllm

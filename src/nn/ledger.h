// What a step adds up beside the loss of its objective: auxiliary losses, what layers measure, and statistics that
// buffers change by, by what they are and where.
#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/param_store.h"
#include "store/metrics.h"

namespace effllm {

// Named sums; two ledgers add up. By name, never by address: who adds may have models of their own.
class Ledger {
 public:
  // What losses are divided by: of the whole batch, known before the first forward.
  explicit Ledger(int64_t targets = 0, int64_t tokens = 0) : targets_(targets), tokens_(tokens) {}
  Ledger empty() const { return Ledger(targets_, tokens_); }

  enum class Per { token, target };
  // A loss summed over what is at hand, [1] f64, and not a number yet on shapes alone. Backward starts from it too,
  // where a tape records, with weight / tokens (or targets); what is reported is its mean. `share`: of the tokens that
  // the place is given, where layers leave some out.
  void loss(std::string_view site, const Metric& metric, const Tensor& sum, double weight, Per per = Per::token,
            double share = 1);
  // The same where the sum is of targets of its own, so many: what is reported is the mean over those.
  void loss_of(std::string_view site, const Metric& metric, const Tensor& sum, int64_t counted, double weight);
  // A number of each token, summed over those at hand: its mean is reported.
  void mean(std::string_view site, const Metric& metric, double sum);
  // Reports `of` what these sums come to, such as the largest.
  using Whole = double (*)(std::span<const double> sums);
  void whole(std::string_view site, const Metric& metric, std::vector<double> sums, Whole of);
  // Sums that the buffer's rule sees, once they are those of the whole batch.
  void statistic(const ModelBuffer& buffer, std::vector<double> sums);

  Ledger& operator+=(const Ledger& other);
  // Lets the rules change the buffers that this has statistics of.
  void apply(ParamStore& params) const;
  std::vector<Measured> rows() const;  // in the order of their names: "layers.3.ffn.balance"

 private:
  struct Sums {
    const Metric* metric = nullptr;  // null: of a buffer
    std::vector<double> values = {};
    Whole whole = nullptr;  // null: the mean
    Per per = Per::token;
    void add(const std::vector<double>& more);
  };
  Sums& at(std::string_view site, const Metric& metric);
  static void seed(const Tensor& sum, double gradient);
  double each(Per per) const {
    const int64_t n = per == Per::token ? tokens_ : targets_;
    return n > 0 ? 1.0 / static_cast<double>(n) : 0;
  }
  std::map<std::string, Sums, std::less<>> sums_;
  int64_t targets_, tokens_;
};

}  // namespace effllm

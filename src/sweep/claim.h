// What somebody says that a study will find, written down before it runs, and the rule that it is judged by.
#pragma once
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "config/options.h"

namespace effllm {

// A number that arms are held against each other by.
struct ClaimMetric {
  enum class Kind { score, size, speedup };  // of each result; of an arm's model; of a pair of arms
  std::string_view name, field;              // as a claim and as the files call it
  Kind kind;
};
const std::vector<ClaimMetric>& claim_metrics();

struct ClaimOptions final : Options {
  std::string name, source, statement, metric = "bits_per_char", predicts;
  std::vector<std::string> arms;
  std::vector<double> ratio;
  double margin = 0, level = 0.95;
  void visit(OptionVisitor& v) override;
  const ClaimMetric& measure() const;
  // Where the claim is true: of the difference of the first arm to the second, or of their ratio.
  struct Region {
    double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  };
  Region region() const;
  bool is_ratio() const { return !ratio.empty(); }
  // "bits_per_char of min_gru is less than that of attention by more than 0.05"
  std::string prediction() const;
};

// `arms`: those of the study. What is wrong becomes errors of `found`; claims without a name get one.
std::vector<ClaimOptions> read_claims(const std::vector<ConfigNode>& list, const std::vector<std::string>& arms,
                                      Diagnostics& found);

}  // namespace effllm

// The optimizers: their list, their options, and groups of parameters that depart from these by name.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/list.h"
#include "optim/slots.h"

namespace effllm {

// Parameters whose name matches `match` (* any text, ? one character) depart from the run's settings. The last group
// that matches wins.
struct GroupOptions final : Options {
  std::string match;
  std::optional<double> lr, weight_decay;
  void visit(OptionVisitor& v) override;
};

class Optimizer;
struct OptimOptions;

struct OptimizerFacts {
  std::string_view name, title, paper;
  // The code that it follows, "owner/repository@commit". What is not as there stands in `deviations`.
  std::string_view source;
  std::string_view deviations = "";
  // Memory plans ask, before there is an optimizer: what one of these options keeps of a parameter, and numbers that it
  // works with beside on so many threads.
  std::vector<SlotKind> (*slots)(const Options& own, const Parameter& p);
  int64_t (*workspace)(const ParamStore&, int threads) = +[](const ParamStore&, int) { return int64_t{0}; };
  // Learning rate of a parameter, before its own scale and groups; null: OptimOptions::lr.
  double (*lr)(const OptimOptions&, const Parameter&) = nullptr;
  bool keeps_rate = false;  // it takes no schedule but a constant one
};

// Its options are those beside OptimOptions.
using OptimizerInfo =
    Entry<Optimizer, OptimizerFacts, const OptimOptions&, const std::vector<GroupOptions>&, ParamStore&>;
extern const List<OptimizerInfo> all_optimizers;

struct OptimOptions final : Options {
  Choice<OptimizerInfo> type{all_optimizers, "adamw"};
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.99, eps = 1e-8, weight_decay = 0.1, clip = 1;
  ConfigNode schedule;
  std::vector<ConfigNode> groups;
  void visit(OptionVisitor& v) override;
};

// What an optimizer of this choice keeps.
SlotKinds slots_of(const Choice<OptimizerInfo>& type);

bool matches(std::string_view pattern, std::string_view name);

// What the groups make of each parameter, in store order. ConfigError where a group matches none.
struct ParameterSetting {
  double lr, weight_decay;
};
std::vector<ParameterSetting> group_settings(const OptimOptions& o, const std::vector<GroupOptions>& groups,
                                             const ParamStore& store);

}  // namespace effllm

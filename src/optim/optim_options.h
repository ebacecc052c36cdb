// The options of optimizers, and groups of parameters that depart from them by name.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/options.h"
#include "nn/param_store.h"

namespace effllm {

// Parameters whose name matches `match` (* any text, ? one character) depart from the run's settings. The last group
// that matches wins.
struct GroupOptions final : Options {
  std::string match;
  std::optional<double> lr, weight_decay;
  void visit(OptionVisitor& v) override;
};

// The optimizer by name. Which keys are beside it follows from it.
struct OptimType final : Options {
  std::string type = "adamw";
  void visit(OptionVisitor& v) override;
};

struct OptimOptions final : Options {
  std::string type = "adamw";
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.99, eps = 1e-8, weight_decay = 0.1, clip = 1;
  ConfigNode schedule;
  std::vector<ConfigNode> groups;
  std::shared_ptr<const Options> own;  // of the optimizer, beside those above; null: its defaults
  void visit(OptionVisitor& v) override;
};

bool matches(std::string_view pattern, std::string_view name);

// What the groups make of each parameter, in store order. ConfigError where a group matches none.
struct ParameterSetting {
  double lr, weight_decay;
};
std::vector<ParameterSetting> group_settings(const OptimOptions& o, const std::vector<GroupOptions>& groups,
                                             const ParamStore& store);

}  // namespace effllm

// AdamW over slabs, with groups of parameters by name. Loshchilov and Hutter 2019, arXiv:1711.05101; the order of
// operations is PyTorch's.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/named.h"
#include "config/options.h"
#include "nn/param_store.h"
#include "optim/schedule.h"

namespace effllm {

// Parameters whose name matches `match` (* any text, ? one character) depart from the run's settings. The last group
// that matches wins.
struct GroupOptions final : Options {
  std::string match;
  std::optional<double> lr, weight_decay;
  void visit(OptionVisitor& v) override;
};

struct OptimOptions final : Options {
  std::string type = "adamw";
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.99, eps = 1e-8, weight_decay = 0.1, clip = 1;
  ConfigNode schedule;
  std::vector<ConfigNode> groups;
  void visit(OptionVisitor& v) override;
};

std::span<const NamedInfo> all_optimizers();
bool matches(std::string_view pattern, std::string_view name);

// What the groups make of each parameter, in store order. ConfigError where a group matches none.
struct ParameterSetting {
  double lr, weight_decay;
};
std::vector<ParameterSetting> group_settings(const OptimOptions& o, const std::vector<GroupOptions>& groups,
                                             const ParamStore& store);

class AdamW {
 public:
  // ConfigError where a group matches no parameter.
  AdamW(const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store);

  // One step with the gradient slab times `scale`; `lr_factor` is the schedule's. Blocks of fixed size, so that the
  // bits don't depend on threads.
  void step(const Slab& gradient, double scale, double lr_factor);
  int64_t steps() const { return steps_; }
  void set_steps(int64_t n) { steps_ = n; }
  const Slab& m() const { return m_; }
  const Slab& v() const { return v_; }
  using Setting = ParameterSetting;
  const std::vector<Setting>& settings() const { return settings_; }

 private:
  struct Block {
    int64_t from, n;
    size_t parameter;
  };
  OptimOptions options_;
  ParamStore& store_;
  std::vector<ParameterSetting> settings_;
  std::vector<Block> blocks_;
  Slab m_, v_;
  int64_t steps_ = 0;
};

}  // namespace effllm

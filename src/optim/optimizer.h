// What turns a gradient into new weights: the interface, the list, and how one is built from a configuration.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "optim/optim_options.h"
#include "optim/slots.h"

namespace effllm {

class Optimizer;

struct OptimizerInfo {
  std::string_view name, title;
  SlotNames slots;  // memory plans ask, before there is an optimizer
  // ConfigError where a group matches no parameter.
  std::unique_ptr<Optimizer> (*build)(const OptimOptions&, const std::vector<GroupOptions>&, ParamStore&);
};

std::span<const OptimizerInfo* const> all_optimizers();
const OptimizerInfo& find_optimizer(std::string_view name, const Mark& where = {});
// The one that `o.type` names.
std::unique_ptr<Optimizer> build_optimizer(const OptimOptions& o, const std::vector<GroupOptions>& groups,
                                           ParamStore& store);

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // One step with the gradient slab times `scale`; `lr_factor` is the schedule's. The bits don't depend on threads.
  void step(const Slab& gradient, double scale, double lr_factor) {
    ++steps_;
    update(gradient, scale, lr_factor);
  }
  int64_t steps() const { return steps_; }
  void set_steps(int64_t n) { steps_ = n; }
  // What is saved beside the weights: every slot of every parameter, in store order, as a view.
  using Visitor = std::function<void(std::string_view slot, const Parameter&, const Tensor&)>;
  void visit(const Visitor& f) const;
  const std::vector<ParameterSetting>& settings() const { return settings_; }
  // That one pass over gradients, weights and slots of f32 reads and writes.
  double pass_bytes() const;

 protected:
  // `store` is materialized already, and outlives the optimizer.
  Optimizer(SlotNames names, std::vector<ParameterSetting> settings, ParamStore& store);
  virtual void update(const Slab& gradient, double scale, double lr_factor) = 0;

  ParamStore& store_;
  std::vector<ParameterSetting> settings_;  // in store order
  Slots slots_;

 private:
  SlotNames names_;
  int64_t steps_ = 0;
};

}  // namespace effllm

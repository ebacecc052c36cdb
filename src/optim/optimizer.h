// What turns a gradient into new weights: the interface, the list, and how one is built from a configuration.
#pragma once
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "config/list.h"
#include "optim/optim_options.h"
#include "optim/slots.h"

namespace effllm {

class Optimizer;

struct OptimizerFacts {
  std::string_view name, title, paper;
  // The code that it follows, "owner/repository@commit". What is not as there stands in `deviations`.
  std::string_view source;
  std::string_view deviations = "";
  // Memory plans ask, before there is an optimizer: what it keeps of a parameter, and numbers that it works with
  // beside.
  SlotNames slots;
  int64_t (*workspace)(const ParamStore&) = +[](const ParamStore&) { return int64_t{0}; };
  // Learning rate of a parameter, before its own scale and groups.
  double (*lr)(const OptimOptions&, const Parameter&) = +[](const OptimOptions& o, const Parameter&) { return o.lr; };
};

// Its options are those beside OptimOptions.
using OptimizerInfo =
    Entry<Optimizer, OptimizerFacts, const OptimOptions&, const std::vector<GroupOptions>&, ParamStore&>;
extern const List<OptimizerInfo> all_optimizers;

// Those of `o` that are this optimizer's own.
std::unique_ptr<Options> own_options(const OptimizerInfo& info, const OptimOptions& o);
// The one that `o.type` names. ConfigError where a group matches no parameter.
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
  const std::vector<ParameterSetting>& settings() const { return settings_; }  // in store order
  // Of a step: of products, and what one pass over gradients, weights and slots of f32 reads and writes.
  virtual double flops() const { return 0; }
  double pass_bytes() const;

 protected:
  // `store` is materialized already, and outlives the optimizer.
  Optimizer(const OptimizerInfo& info, const OptimOptions& o, const std::vector<GroupOptions>& groups,
            ParamStore& store);
  virtual void update(const Slab& gradient, double scale, double lr_factor) = 0;

  ParamStore& store_;
  Slots slots_;

 private:
  SlotNames names_;
  std::vector<ParameterSetting> settings_;
  int64_t steps_ = 0;
};

}  // namespace effllm

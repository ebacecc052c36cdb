// What turns a gradient into new weights: the interface, and how one is built from a configuration.
#pragma once
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "optim/optim_options.h"
#include "optim/slots.h"

namespace effllm {

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
  // Where the weights that count are others than those that gradients are taken at, exchanges them: between steps
  // those of training stand in the parameters, and from one call of this to the next those that are evaluated and
  // saved.
  virtual void exchange() {}
  // Of a step: of products, and what one pass over gradients, weights and slots of f32 reads and writes.
  virtual double flops() const { return 0; }
  double pass_bytes() const;

 protected:
  // `store` is materialized already, and outlives the optimizer.
  Optimizer(const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store);
  virtual void update(const Slab& gradient, double scale, double lr_factor) = 0;

  ParamStore& store_;
  Slots slots_;

 private:
  std::vector<ParameterSetting> settings_;
  int64_t steps_ = 0;
};

// While alive, the parameters hold the weights that count.
class ShownWeights {
 public:
  explicit ShownWeights(Optimizer& o) : optimizer_(o) { optimizer_.exchange(); }
  ~ShownWeights() { optimizer_.exchange(); }
  ShownWeights(const ShownWeights&) = delete;
  ShownWeights& operator=(const ShownWeights&) = delete;

 private:
  Optimizer& optimizer_;
};

}  // namespace effllm

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
  // Its own options, a copy of `like` where that is of the same kind; null where OptimOptions has all.
  std::unique_ptr<Options> (*options)(const Options* like) = nullptr;
  // ConfigError where a group matches no parameter.
  std::unique_ptr<Optimizer> (*build)(const OptimOptions&, const std::vector<GroupOptions>&, ParamStore&) = nullptr;
};

// Fills in what follows from the type: O(OptimOptions, groups, ParamStore), and O::Options where there are any.
template <class O>
constexpr OptimizerInfo describe_optimizer(OptimizerInfo info) {
  info.build = +[](const OptimOptions& o, const std::vector<GroupOptions>& groups,
                   ParamStore& store) -> std::unique_ptr<Optimizer> { return std::make_unique<O>(o, groups, store); };
  if constexpr (requires { typename O::Options; })
    info.options = +[](const Options* like) -> std::unique_ptr<Options> {
      const auto* same = dynamic_cast<const typename O::Options*>(like);
      return same ? std::make_unique<typename O::Options>(*same) : std::make_unique<typename O::Options>();
    };
  return info;
}

namespace optimizers {
#define EFFLLM_OPTIMIZER(id) extern const OptimizerInfo id;
#include "optim/optimizers.def"
#undef EFFLLM_OPTIMIZER
}  // namespace optimizers

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

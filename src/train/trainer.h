// One training step: shards on workers, the lanes' gradients added in a tree, clipped, and given to the optimizer.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "checkpoint/state_file.h"
#include "data/batches.h"
#include "nn/transposed.h"
#include "optim/optimizer.h"
#include "train/carried.h"
#include "train/exchange.h"

namespace effllm {

struct StepOptions {
  uint64_t seed = 1;
  double clip = 1;  // 0: off
  bool carry_state = false;
  bool recompute = false;            // Pass::recompute
  std::vector<size_t> buffers = {};  // MemoryPlan::step_buffers, which threads take at once
  int64_t carried_tokens = 1 << 30;  // that a row reads before it starts anew, at most: its state has no more room
};

struct StepResult {
  double loss = 0;                  // nats per counted token
  double grad_norm = 0;             // before clipping
  int64_t tokens = 0;               // inputs
  int64_t targets = 0;              // that count; 0: nothing was updated
  bool finite = true;               // false: nothing was updated
  std::vector<Measured> rows = {};  // the ledger's
  bool learned() const { return finite && targets > 0; }
};

class Trainer {
 public:
  // The model is materialized already. ConfigError where a state can't be carried.
  Trainer(LanguageModel& model, const Objective& objective, Optimizer& optimizer, ShardPlan plan,
          const StepOptions& options);

  // `step` counts from 0; it and the numbers of the batch's samples key the random numbers.
  // Where rows don't go on from the batch before (`continues`), they start from nothing. `progress`: of the horizon, in
  // [0, 1), see Pass. Where it throws, Interrupted or an error of an op, all is as it was before.
  StepResult step(const Batch& batch, int64_t step, double lr_factor, bool continues = true, double progress = 0);
  // The last step's forward and backward again, or of another batch, under a NanWatch, nothing updated: throws a
  // NumericalError that names the op, layer and step where the first value that is not finite appears; returns where
  // none does.
  void find_nonfinite(const Batch& batch, int64_t step);
  // Norms of the gradient of the last step, which must have been finite (train/expert_gradients.h): a pass over the
  // weights of experts, for who asks.
  std::vector<Measured> expert_gradients();
  const ShardPlan& plan() const { return plan_; }

  // With carry_state: what each row of the batch remembers, as named tensors ("state.layers.0.mixer.h").
  std::vector<NamedTensor> carried() const;
  // Bytes handed out by the pools of the workers at most, and kept for backward in the largest shard of the last step.
  size_t peak_bytes() const { return peak_bytes_; }

 private:
  template <class F>
  void on_workers(F&& work);
  void run_lanes(const Batch& batch, int64_t step, int64_t targets);
  void run_lane(size_t lane, const Batch& batch, int64_t step, int64_t targets);
  void run_shard(const Batch& batch, const Shard& shard, int64_t step, double weight, LaneSums& sums);

  LanguageModel& model_;
  const Objective& objective_;
  Optimizer& optimizer_;
  ShardPlan plan_;
  StepOptions options_;
  Exchange exchange_;
  std::unique_ptr<TransposedWeights> transposed_;  // made by the first step that has tokens enough to pay for it
  std::optional<Carried> carried_;
  double progress_ = 0;
  size_t peak_bytes_ = 0;
};

}  // namespace effllm

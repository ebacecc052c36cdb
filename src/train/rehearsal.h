// A model on shapes alone that goes through what a run will do: what its buffer pool would have taken by then is what
// the real one will take.
#pragma once
#include <cstdint>
#include <span>

#include "decode/context_limit.h"
#include "eval/eval_plan.h"
#include "model/language_model.h"
#include "train/run_config.h"
#include "train/shards.h"

namespace effllm {

// All of it runs on the calling thread's pool: what the pool has handed out once it keeps. One at a time counts.
class Rehearsal {
 public:
  // `carried`: tokens that the rows' states have room for, where train.carry_state keeps them; 0: none are carried.
  // `config` and `model`, which is `config.model` on shapes alone, must outlive it.
  Rehearsal(const RunConfig& config, LanguageModel& model, int64_t carried = 0);
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  const ShardPlan& plan() const { return plan_; }
  LanguageModel& model() { return model_; }
  std::vector<size_t> buffers() const { return pool_.meta_made(); }
  double taken() const { return static_cast<double>(pool_.meta_reserved_bytes()); }  // bytes, so far

  // Forward and backward of the shards of every size that the plan has; the names of what they add up. `taps` see the
  // tensors of the model.
  Ledger step(const Taps* taps = nullptr);
  // A batch of windows as one of several workers has it, or as the thread that leaves all others to the ops. `room`:
  // tokens of the state that is carried; 0: none. `by_exit`: Scoring::by_exit.
  void evaluate(EvalPlan::Size size, int64_t room, bool worker, bool by_exit = false);
  // A prompt, or what is read again where the text becomes longer than a context, in the pieces that a sample reads;
  // and a token after it. The state of the prompt is kept beside that of the text.
  void sample(int64_t prompt, int64_t tokens, const ContextLimit& limit);

 private:
  void shard(int64_t sequences, const Taps* taps, Ledger& ledger);
  void encoded_sample(int64_t prompt, int64_t tokens, const ContextLimit& limit);

  const RunConfig& config_;
  LanguageModel& model_;
  ShardPlan plan_;
  BufferPool& pool_;
  std::unique_ptr<Objective> objective_;
  int64_t carried_;
};

}  // namespace effllm

// A configuration made real: its corpus as tokens, and the model with all that trains it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/batches.h"
#include "train/preflight.h"
#include "train/trainer.h"

namespace effllm {

struct Experiment : RunText {
  // Opens the corpus and says what can't be trained (preflight).
  explicit Experiment(RunConfig wanted);
  // Before build(): what the configuration leaves to its defaults has those of that format version.
  void use_defaults_of(int version);
  // The model, the order of the data and what trains. `first_batch`: rows of a step at the run's start. Without
  // `trains` the parameters have shapes and no memory.
  void build(int64_t first_batch, bool trains);

  RunConfig config;  // with what was chosen
  MemoryPlan memory;
  std::vector<std::string> notes;  // what the user should know of it
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Objective> objective;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Trainer> trainer;
  std::unique_ptr<BatchOrder> order;
  // Of the training split: the loss is of a token.
  double tokens_per_character = 1, tokens_per_byte = 1;
  double flops_per_token = 0;  // of training, without what is computed again
  Ledger added_up;             // by a step, beside its loss: the names

 private:
  void build_trainer();
};

}  // namespace effllm

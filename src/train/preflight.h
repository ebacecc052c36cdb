// What a run needs before its first step, and everything that would make it fail at its start or only at its end.
// `train` begins with it; `check` and `train --dry-run` do nothing else.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/batches.h"
#include "data/corpus.h"
#include "train/memory_plan.h"
#include "train/run_config.h"

namespace effllm {

struct Doubt {
  Mark where;
  std::string message;
};

// What a configuration says is trained on. DataError as Corpus::open, ConfigError as Corpus::of_task.
Corpus corpus_of(const RunConfig& config);
// Size of the vocabulary: the corpus decides it for some tokenizers; bytes need none.
int64_t vocab_of(const RunConfig& config);

// What a run reads, as tokens; of a task nothing for training, which makes its own.
struct RunText {
  Corpus corpus;
  std::unique_ptr<Tokenizer> tokenizer;
  TokenizedText train, val;  // `val`: the split of eval.split
  TextSizes sizes() const;
  // The order in which training reads it; `first_batch` as BatchShape has it. It and the objective must outlive it.
  std::unique_ptr<BatchOrder> order(const RunConfig& config, const Objective& objective, int64_t first_batch) const;
};
RunText read_text(const RunConfig& config, Corpus corpus);

struct Preflight : RunText {
  MemoryPlan plan;  // what training will need at most
  // What is probably not meant: `check` refuses it, a run says it and goes on.
  std::vector<Doubt> doubts;
  std::string note;                      // what to expect: a step that takes minutes; may be empty
  std::unique_ptr<LanguageModel> model;  // on shapes alone
  double flops_per_token = 0;            // of training, those of train.recompute left out
  Ledger added_up;                       // by a step, beside its loss: the names
  double epoch_samples = 0;              // rows of one pass over the training split; infinite where it has no end
};

// DataError for a corpus that is missing or too short, an empty split and a prompt outside the vocabulary; MemoryError
// before any memory of the model is taken; ConfigError for parts that don't fit together, groups that match no
// parameter and states that can't be carried.
Preflight preflight(const RunConfig& config);

}  // namespace effllm

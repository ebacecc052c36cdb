// How the configuration of a run that goes on differs from that of its checkpoint, and what that means.
#pragma once
#include <string>
#include <vector>

#include "config/difference.h"
#include "train/run_record.h"

namespace effllm {

struct RunChanges {
  std::vector<ConfigChange> model;  // what the weights belong to: model, objective, tokens and their order
  std::vector<ConfigChange> place;  // with these the rows of the data can't go on where they were
  std::vector<ConfigChange> other;  // optimizer, schedule, horizon, intervals, evaluation
};

// Names are no difference (that of the corpus neither: CorpusIdentity says which it is), nor is the reach of learned
// positions where there are none. Dropout is among the others: it leaves the function that is evaluated as it is.
RunChanges changes_between(const RunConfig& before, const RunConfig& after);

// The changes for people: of a part whose `type` is another, the options that only one of the two has are one line.
std::vector<std::string> told(const std::vector<ConfigChange>& changes);

// "the learning rate of step 40 is 0.001 instead of 0.0005, 2 times as much"; empty where it differs by less than 1 %.
std::string lr_jump(const RunConfig& before, const RunConfig& after, const Spent& spent);

// "the horizon is another: at step 40 objective.early_exit.curriculum is at 20 % of the run instead of 40 %": where
// what goes by the part that is done is set back, or forward, by more than rounding. Empty where nothing is.
std::string curriculum_jump(const RunConfig& before, const RunConfig& after, const Spent& spent);

// CheckpointError, with each key and both values, where a run can't go on from the checkpoint `path` under this
// configuration: where the rows of the data can't, or where the model is another and `allow_other_model` is not set, or
// can't help, because the weights of `file` don't fit the configuration's model, or its tokens are others.
void require_same_run(const RunChanges& changes, const SafetensorsFile& file, const RunRecord& record,
                      const RunConfig& config, const Tokenizer& tokenizer, const std::string& path,
                      bool allow_other_model);

// The same for a new run that starts with the weights of a checkpoint: its model and tokens must be the same, its data,
// objective and training may be others. `record` is that of `file`.
void require_same_weights(const SafetensorsFile& file, const RunRecord& record, const RunConfig& config,
                          const Tokenizer& tokenizer, const std::string& path, bool allow_other_model);

}  // namespace effllm

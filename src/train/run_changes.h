// How the configuration of a run that goes on differs from that of its checkpoint, and what that means.
#pragma once
#include <string>
#include <vector>

#include "config/difference.h"
#include "train/run_config.h"

namespace effllm {

struct RunChanges {
  std::vector<ConfigChange> model;  // what the weights belong to: model, objective, tokens and their order
  std::vector<ConfigChange> place;  // with these the rows of the data can't go on where they were
  std::vector<ConfigChange> other;  // optimizer, schedule, horizon, intervals, evaluation
};

// Names are no difference, nor is the reach of learned positions where there are none. Dropout is among the others: it
// leaves the function that is evaluated as it is.
RunChanges changes_between(const RunConfig& before, const RunConfig& after);

// "the learning rate of step 40 is 0.001 instead of 0.0005, 2 times as much"; empty where it differs by less than 1 %.
std::string lr_jump(const RunConfig& before, const RunConfig& after, const Spent& spent);

std::string listed(const std::vector<ConfigChange>& changes);  // a line each, indented

}  // namespace effllm

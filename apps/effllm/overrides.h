// Which --set a training run has.
#pragma once
#include <string>
#include <vector>

#include "commands.h"

namespace effllm::app {

struct Overrides {
  std::vector<std::string> set;
  std::vector<std::string> notes;  // for the user, where the run that is resumed was started with others
};

// A run that is resumed without --set goes on with what it was started with; one with --set has exactly those, and the
// corpus that it was started with unless they name one.
Overrides overrides_of(const TrainArgs& args);

}  // namespace effllm::app

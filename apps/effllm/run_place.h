// Which folder a training run is meant to have.
#pragma once
#include "commands.h"

namespace effllm::app {

// `args` with the folder of runs, and where it is that of a run whose own configuration is resumed, its name.
// ConfigError where the run would be nested in the folder of another.
TrainArgs with_place(TrainArgs args);

}  // namespace effllm::app

// What a task (data.task) asks of a configuration, and what of it a task has no use for.
#pragma once
#include "train/run_config.h"

namespace effllm {

// The section `data` as it is written: where it names a task, keys of a text are errors, and taken out.
void refuse_beside_task(ConfigNode& data, Diagnostics& found);

// Of a configuration with a task whose sections are read. Rows are as long as its samples where nobody says otherwise,
// and no samples of text are written. `read`: `train` and `eval` are without errors.
void check_task(RunConfig& config, bool read, Diagnostics& found);

}  // namespace effllm

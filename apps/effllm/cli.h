// The command line: what may be written, and which command it calls.
#pragma once
#include "commands.h"

namespace effllm::app {

ExitCode run_command_line(int argc, char** argv);

}  // namespace effllm::app

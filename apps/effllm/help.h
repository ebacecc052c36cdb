// Help in lines that fit the terminal.
#pragma once
#include <string>

namespace CLI {
class App;
}

namespace effllm::app {

// From here on this program and the commands that it is given write their help so.
void wrap_help(CLI::App& app);

}  // namespace effllm::app

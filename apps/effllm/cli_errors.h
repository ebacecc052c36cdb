// What is wrong with a command line, in sentences.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

namespace effllm::app {

// The command that was named so far: "effllm data prepare".
std::string spoken_command(const CLI::App& app);
// What the error of parsing means, with what may have been meant instead.
std::string explain(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv);

}  // namespace effllm::app

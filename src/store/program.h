// Programs that are installed, run on a text.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace effllm {

// The path of the first of `names` that a folder of PATH has; empty where none is installed.
std::string find_program(std::span<const std::string_view> names);

// What `command` writes to stdout while `input` comes to its stdin: through a socket, so that it can't know how long
// the text is. IoError with the reason where it can't be started or ends otherwise than with exit code 0.
std::string run_program(const std::vector<std::string>& command, std::string_view input);

}  // namespace effllm

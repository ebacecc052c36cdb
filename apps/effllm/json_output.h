// One way for results as JSON to leave the program.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace effllm::app {

// Bytes that are not UTF-8 (of a generated text, of a path) come out as U+FFFD: JSON can't hold them.
std::string json_text(const nlohmann::json& j, int indent = -1);
void print_json(const nlohmann::json& j);  // a line on stdout

}  // namespace effllm::app

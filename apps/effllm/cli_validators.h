// What the values of flags may be.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace effllm::app {

CLI::Validator positive();
CLI::Validator integer(int64_t lowest, int64_t highest);
CLI::Validator seconds();
CLI::Validator not_empty(const std::string& why);
CLI::Validator one_of(std::vector<std::string> words);

}  // namespace effllm::app

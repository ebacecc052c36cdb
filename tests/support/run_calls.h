// Runs in a TinyFolder, as a test calls them, and what they left behind.
#pragma once
#include "support/command.h"
#include "support/tiny_run.h"
#include "train/run.h"

namespace effllm::test {

using Sets = Words;  // "train.batch=2"

// Of c.yaml with these changes; quiet.
RunRequest request(const TinyFolder& t, const Sets& set = {}, bool resume = false);
RunOutcome train(const TinyFolder& t, const Sets& set = {}, bool resume = false);

std::string hash_of(const std::filesystem::path& checkpoint);  // of its parameters
std::vector<double> losses(const std::filesystem::path& run);  // the journal's rows of training
std::string events(const std::filesystem::path& run);          // of the journal: "level: text", a line each

}  // namespace effllm::test

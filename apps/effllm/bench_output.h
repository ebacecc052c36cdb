// How measurements are printed.
#pragma once
#include <string>
#include <vector>

#include "commands.h"

namespace effllm::app {

using Rows = std::vector<std::vector<std::string>>;

inline constexpr const char* kContended = "CONTENDED: other programs took CPU time meanwhile, don't quote this";

void print(const Rows& rows, const BenchFormat& format);
// What belongs to a table but is none of its rows.
void note(const std::string& text, const BenchFormat& format);

}  // namespace effllm::app

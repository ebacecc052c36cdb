// What tells the losses of one run from those of another.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/run_list.h"

namespace effllm::app {

// Keys of a configuration, and `corpus`, in which runs that have a loss differ so that the losses do not compare. Those
// of the evaluation count among runs that were evaluated.
std::vector<std::string_view> differing(const std::vector<RunSummary>& all);

// Tokens between windows of `sliding`, its own half a window included; empty for other protocols and where it is not
// recorded.
std::optional<int64_t> stride_of(const RunSummary& r);

// What the best loss was evaluated on and by: "val, windows", and with it only what is no default or in `differ`:
// "test, sliding of 64, stride 8, first 1000, reset at documents". "-" where there is none.
std::string evaluated_on(const RunSummary& r, const std::vector<std::string_view>& differ);

}  // namespace effllm::app

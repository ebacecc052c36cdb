// Gradients against differences.
#pragma once
#include <functional>
#include <string_view>

#include "objectives/objective.h"

namespace effllm::test {

// That `gradient`, of all parameters, is that of `minimised`: each `every`th number, by central differences, which may
// be so far off.
void check_slopes(const LanguageModel& model, const Slab& gradient, const std::function<double()>& minimised,
                  int64_t every, double far = 1e-8);
// That the gradient of a loss, [1] f64, agrees with differences of fourth order, of steps `h`, along a direction of all
// parameters, then of each alone that `which` takes.
void check_directions(const LanguageModel& model, const std::function<Tensor()>& loss, double h,
                      const std::function<bool(std::string_view name)>& which);
// A row of what was added up; a failure where there is none.
double row_of(const Ledger& ledger, std::string_view name);

}  // namespace effllm::test

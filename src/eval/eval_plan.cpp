#include "eval/eval_plan.h"

#include <algorithm>

namespace effllm {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t stride_of(const EvalOptions& o) { return o.protocol.build()->stride(o.tokens); }

int64_t scored_inputs(const EvalOptions& o, int64_t inputs) {
  return o.max_tokens ? std::min(inputs, o.max_tokens) : inputs;
}

EvalPlan::EvalPlan(const EvalOptions& o, int64_t inputs)
    : inputs_(inputs),
      length_(std::min(o.tokens, inputs)),
      stride_(stride_of(o)),
      batch_(o.protocol.info().carried ? 1 : o.batch),
      carried_(o.protocol.info().carried),
      windows_(1 + ceil_div(inputs - length_, stride_)),
      full_(1 + (inputs - length_) / stride_),
      tasks_(ceil_div(full_, batch_) + windows_ - full_) {}

Window EvalPlan::window(int64_t i) const {
  const int64_t begin = i * stride_;
  return {begin, std::min(begin + length_, inputs_), i == 0 ? 0 : begin - stride_ + length_};
}

EvalPlan::Task EvalPlan::task(int64_t i) const {
  const int64_t first = i * batch_;
  return first < full_ ? Task{first, std::min(first + batch_, full_)} : Task{full_, windows_};
}

int EvalPlan::workers(int threads) const { return carried_ ? 1 : static_cast<int>(std::min<int64_t>(threads, tasks_)); }

std::vector<EvalPlan::Size> EvalPlan::sizes() const {
  std::vector<Size> all = {{std::min(batch_, full_), length_}};
  if (full_ > batch_ && full_ % batch_) all.push_back({full_ % batch_, length_});
  if (windows_ > full_) all.push_back({1, window(windows_ - 1).length()});
  return all;
}

}  // namespace effllm

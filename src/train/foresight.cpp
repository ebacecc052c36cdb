#include "train/foresight.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/text.h"
#include "kernels/gemm.h"
#include "kernels/prepare.h"
#include "tensor/tensor.h"

namespace effllm {
namespace {

constexpr double kLongStep = 30;  // seconds
constexpr double kSlowest = 1e9;  // FLOP/s that every machine reaches

// FLOP/s of f32 products on all threads, the best of a few that take some milliseconds each.
double product_rate() {
  prepare_threads();
  constexpr int64_t kSize = 512;
  const Tensor a = Tensor::full({kSize, kSize}, DType::f32, 0.5), b = Tensor::full({kSize, kSize}, DType::f32, 0.25),
               c = Tensor::full({kSize, kSize}, DType::f32, 0);
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const double start = seconds_now();
    parallel_gemm(false, false, kSize, kSize, kSize, a.data<float>(), a.stride(), b.data<float>(), b.stride(),
                  c.data<float>(), c.stride(), false);
    best = std::max(best, 2.0 * kSize * kSize * kSize / (seconds_now() - start));
  }
  return best;
}

}  // namespace

std::optional<double> expected_steps(const RunConfig& c, double flops_per_token, double samples_per_epoch) {
  const auto tokens = static_cast<double>(c.train.batch * c.train.context);
  if (c.train.max_steps) return static_cast<double>(*c.train.max_steps);
  if (c.train.max_tokens) return std::ceil(static_cast<double>(*c.train.max_tokens) / tokens);
  if (c.train.max_epochs)
    return std::ceil(*c.train.max_epochs * samples_per_epoch / static_cast<double>(c.train.batch));
  if (c.train.max_flops) return std::ceil(*c.train.max_flops / (flops_per_token * tokens));
  return std::nullopt;
}

std::string warmup_doubt(const RunConfig& c, std::optional<double> steps) {
  const int64_t warmup = c.schedule.type.build()->warmup();
  if (!steps || static_cast<double>(warmup) <= *steps) return "";
  return fmt::format(
      "optim.schedule.warmup is {}, but the run has {:.0f}: the learning rate would never reach optim.lr; lower "
      "it "
      "(a tenth of the run is usual)",
      counted(warmup, "step"), *steps);
}

std::string long_step_note(const RunConfig& c, double flops_per_token) {
  const double flops = flops_per_token * static_cast<double>(c.train.batch * c.train.context);
  if (flops < kLongStep * kSlowest) return "";
  const double seconds = flops / product_rate();
  if (seconds < kLongStep) return "";
  return fmt::format(
      "one step of {} takes at least {} on this machine ({} FLOPs), and who stops the run loses the one in progress; "
      "lower train.batch or train.context for shorter ones",
      counted(c.train.batch * c.train.context, "token"), human_seconds(seconds), human_count(flops));
}

}  // namespace effllm

#include "store/metrics.h"

#include <algorithm>

namespace effllm {
namespace {

constexpr MetricInfo kMetrics[] = {
    {"loss", "nats/token", "cross entropy"},
    {"stderr", "nats/token", "standard error of the cross entropy"},
    {"bpc", "bits/character", "bits per character (UTF-8 code point)"},
    {"bpb", "bits/byte", "bits per byte"},
    {"ppl", "1", "perplexity per token"},
    {"lr", "1", "learning rate"},
    {"grad_norm", "1", "global norm of the gradient before clipping"},
    {"tokens", "tokens", "tokens trained on so far"},
    {"epoch", "1", "passes over the training split so far"},
    {"scored_tokens", "tokens", "tokens that were scored"},
    {"flops", "FLOP", "floating-point operations so far"},
    {"wall_s", "s", "time of training steps so far"},
    {"save_s", "s", "time of checkpoints and files so far"},
    {"other_s", "s", "time of all else so far, such as evaluations"},
    {"tok_per_s", "tokens/s", "tokens per second"},
};

}  // namespace

std::span<const MetricInfo> all_metrics() { return kMetrics; }

const MetricInfo* find_metric(std::string_view name) {
  const auto* found = std::ranges::find(kMetrics, name, &MetricInfo::name);
  return found == std::end(kMetrics) ? nullptr : found;
}

}  // namespace effllm

// How well a text was predicted: training and evaluations report it alike.
#pragma once
#include "store/metrics.h"

namespace effllm {

// Names and units are the same whether the numbers are likelihoods or bounds of them; the titles tell.
struct LossMetrics {
  Metric loss, bits_per_character, bits_per_byte;
};

inline constexpr LossMetrics kLossMetrics{{"loss", "nats/token", "cross entropy"},
                                          {"bpc", "bits/character", "bits per character (UTF-8 code point)"},
                                          {"bpb", "bits/byte", "bits per byte"}};
inline constexpr LossMetrics kBoundMetrics{
    {"loss", "nats/token", "upper bound of the cross entropy, estimated"},
    {"bpc", "bits/character", "upper bound of the bits per character (UTF-8 code point), estimated"},
    {"bpb", "bits/byte", "upper bound of the bits per byte, estimated"}};

}  // namespace effllm

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

// Of training that minimises another number than evaluations estimate.
inline constexpr LossMetrics kPredictedMetrics{
    {"loss", "nats/token", "cross entropy of the tokens that are predicted, given the others"},
    {"bpc", "bits/character", "the same in bits per character (UTF-8 code point): no measure of a text"},
    {"bpb", "bits/byte", "the same in bits per byte: no measure of a text"}};

// Of objectives whose score is given the rest of a text (Objective::given_rest).
inline constexpr LossMetrics kMissingMetrics{
    {"loss", "nats/token", "cross entropy of what is missing in a text, ends of spans included, given the rest"},
    {"bpc", "bits/character", "the same in bits per character (UTF-8 code point) that is missing"},
    {"bpb", "bits/byte", "the same in bits per byte that is missing"}};

}  // namespace effllm

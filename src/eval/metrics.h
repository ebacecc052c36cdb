// How well a text was predicted: training and evaluations report it alike.
#pragma once
#include "store/metrics.h"

namespace effllm {

inline constexpr Metric kLoss{"loss", "nats/token", "cross entropy"},
    kBitsPerCharacter{"bpc", "bits/character", "bits per character (UTF-8 code point)"},
    kBitsPerByte{"bpb", "bits/byte", "bits per byte"};

}  // namespace effllm

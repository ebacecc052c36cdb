// Text from a model that predicts all tokens of one that is partly noise (objectives/uniform_diffusion.cpp).
#pragma once
#include <cstdint>
#include <vector>

#include "decode/sampler.h"
#include "model/language_model.h"

namespace effllm {

// Appends `fresh` tokens to the canvas, the first of which is new token `number`: noise at first, MASK or random
// tokens; at each of `steps` runs of the model all of them are drawn again from where they may have come from, given
// what is there and what the model predicts. A function of the options and `sample`.
void write_from_noise(const LanguageModel& model, std::vector<int32_t>& canvas, int64_t fresh, int64_t number,
                      int64_t steps, const SamplerOptions& sampler, int64_t sample);

// Where a token z at time t has come from at s < t: of each of the vocabulary, and of MASK behind it where there is
// one, q(z | j) q_s(j | p) up to a factor, p what is predicted (Schiff et al. 2024, arXiv:2412.10193, equation 15).
std::vector<double> earlier(const std::vector<double>& p, int32_t z, double p_uniform, double t, double s);

}  // namespace effllm

// Models for tests, and their gradients.
#pragma once
#include <memory>
#include <string_view>

#include "objectives/objective.h"
#include "support/tensors.h"

namespace effllm::test {

// A materialized model of the YAML of a `model:` section.
std::unique_ptr<LanguageModel> build_model(std::string_view yaml, int64_t vocab, int64_t context = 64,
                                           DType type = DType::f64, uint64_t seed = 5);
// The same as an objective wants it: whether tokens see those after them, and ids beyond the vocabulary.
std::unique_ptr<LanguageModel> build_model_for(const Objective& objective, std::string_view yaml, int64_t vocab,
                                               int64_t context = 64, DType type = DType::f64, uint64_t seed = 5);
// Token numbers, i32 [batch, tokens], a function of the seed.
Tensor random_ids(int64_t batch, int64_t tokens, int64_t vocab, uint64_t seed);
// Computes the gradient of f (a loss, [1] f64) with respect to all parameters into `gradient`; returns the loss.
double loss_gradient(const LanguageModel& model, const std::function<Tensor()>& f, const Slab& gradient);

}  // namespace effllm::test

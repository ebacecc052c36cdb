// What a model is and costs, counted by running it on shapes alone.
#pragma once
#include <string>
#include <vector>

#include "autodiff/meter.h"
#include "model/language_model.h"

namespace effllm {

struct LayerCost {
  std::string what;          // "embedding", "layers.3 gla + swiglu", "head"
  int64_t parameters = 0;    // shared ones count where they first stand
  double train_flops = 0;    // per token: forward and backward
  double prefill_flops = 0;  // per token: forward
  double decode_flops = 0;   // of one token after `context` others
  int64_t state_bytes = 0;   // of one sequence after `context` tokens
};

// The whole model at one length of sequences.
struct LengthCost {
  int64_t tokens = 0;
  double train_flops = 0, prefill_flops = 0;  // per token, in sequences of `tokens`
  double decode_flops = 0;                    // of one token after `tokens` others
  double kept_bytes = 0;                      // for backward, per token, of the step that has the most exits
  int64_t state_bytes = 0;                    // of one sequence after `tokens`
  // What a KV cache of multi-head attention in every layer would take: 2 d_model numbers a token and layer.
  int64_t cache_bytes = 0;
};

// Where tokens see each other there is no state: "decode" is then one run over all tokens, of which a text takes
// several. With an encoder, tokens are those of a row, of which the objective gives a part to it and a part to the
// decoder, and a state has the keys and values of both.
struct ModelCost {
  int64_t context = 0;
  std::vector<LayerCost> layers;
  LayerCost total;
  int64_t active_parameters = 0;  // that a token is multiplied by: fewer than there are where it chooses among experts
  double kept_bytes = 0;          // for backward, of one sequence of `context` tokens, of the step with the most exits
  std::vector<LengthCost> lengths;
};

// recompute: as Pass::recompute; what is kept is less then, and training does more.
ModelCost count_cost(const ModelConfig& config, int64_t vocab, int64_t context, bool recompute = false);
// Forward and backward FLOPs of one token in training sequences of `context`. The parameters may be on shapes alone.
double train_flops_per_token(const LanguageModel& model, int64_t context, bool recompute = false);

// What a utilisation is formed with: three times the forward FLOPs of dense layers and attention, so 6 per weight and
// token and the visible half of the scores. What recomputes, norms, gates and recurrences do is not in it.
double model_flops_per_token(const ModelConfig& config, int64_t vocab, int64_t context);

}  // namespace effllm

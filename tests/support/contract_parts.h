// What the checks of the contract share: a mechanism with its parameters, the sequences that it is given, and the
// checks themselves, each with what it proves in the file that is named above it.
#pragma once
#include "support/contract.h"
#include "support/tensors.h"

namespace effllm::test {

inline constexpr int64_t kBatch = 2, kWidth = 8;

// A mechanism in the second of two layers: some leave something out in the first.
struct Built {
  ParamStore store;
  std::unique_ptr<Options> options;
  std::unique_ptr<Layer> mixer;
  Direction direction;
  int64_t step = 0;  // of training, for what it leaves out at random
  Tensor memory;     // [1, S, D], what each sequence reads of an encoder but its last row, where it reads one
  Built(const LayerInfo& info, const ConfigNode& node, int64_t width, DType type, uint64_t seed = 3);
  // Larger weights than the initial ones, so that every path matters in a comparison.
  void shake(double scale);
  Tensor forward(const Tensor& x, State* s = nullptr, const Tensor* segments = nullptr, int64_t chunk = 0,
                 Phase phase = Phase::infer) const;
};

// Tokens of a sequence that crosses every border of the mechanism, and the places where it is cut.
int64_t length(const LayerInfo& info);
std::vector<int64_t> cuts(const LayerInfo& info, int64_t n);
Tensor token(const Tensor& x, int64_t t);  // x[:, t] as [B, 1, D]
// One step of training without its update: the output, and the gradients of x and of all parameters.
Tensors train_pass(const Built& m, const Tensor& x);
// Document starts for rows of n tokens, one inside each row: sequence b's at borders[b].
Tensor two_documents(const std::vector<int64_t>& borders, int64_t n);

// contract_gradients.cpp
void check_gradients(const Built& m, const LayerInfo& info, Phase phase, bool carried, bool packed,
                     int64_t width = kWidth);
void check_learns(const LayerInfo& info, const ConfigNode& node);

// contract_forms.cpp
void check_splits(const Built& m, const LayerInfo& info, int64_t n, int64_t width, double bound);
void check_chunks(const Built& m, const LayerInfo& info);
void check_causality(const Built& m, const LayerInfo& info);
void check_batch(const Built& m, const LayerInfo& info);
void check_documents(const Built& m, const LayerInfo& info);

// contract_memory.cpp
void check_no_hidden_memory(const Built& m, const LayerInfo& info);
void check_rewind(const Built& m, const LayerInfo& info, double bound);
void check_no_idle_memory(const Built& m, const LayerInfo& info);
void check_meta(const Built& m, const LayerInfo& info, const ConfigNode& node);
void check_warm(const Built& m, const LayerInfo& info);

// contract_numbers.cpp
void check_f32(const Built& m, const LayerInfo& info, const ConfigNode& node);
void check_threads(const Built& m, const LayerInfo& info);

}  // namespace effllm::test

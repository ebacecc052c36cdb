// What a model is held against, on the text that it was scored on: n-gram models of the training text, and compressors
// that read the training text first.
//
// A compressor's figure is (size(before + text) - size(before)) * 8 / bytes of the text, with what it reads before:
// nothing, train, or train and val where the text comes after both. It adapts to the text while it is scored, which
// neither the n-gram models nor the trained model do. Of a short text the figure would be that of headers, of padding
// and of whole bytes: compressors are then left out.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "data/corpus.h"
#include "eval/compress.h"
#include "eval/evaluator.h"

namespace effllm {

struct Baseline {
  std::string name, before;  // "nothing", "train", "train + val"
  int64_t before_bytes = 0;  // how much of it was read
  bool cut = false;          // that was not all of it
  bool adapts = false;
  double bits_per_byte = 0;
};

struct LeftOut {
  std::string name, reason;
};

struct Baselines {
  std::vector<Baseline> rows;
  std::vector<LeftOut> left_out;  // what failed: it never costs the others, nor the model's own result
};

struct BaselineOptions {
  int64_t most_before = int64_t{64} << 20;  // bytes that compressors read first, from the end: bounds time and memory
  int64_t least_scored = 1000;              // bytes of a text that compressors are scored on
  double memory = memory_limit();  // bytes that the process may have; n-gram models that need more are left out
  std::vector<Compressor> compressors = effllm::compressors();
  std::function<void(const std::string&)> progress = nullptr;  // what is being computed; one call at a time
};

// What the model scored: `tokens` are of `text`, which is a split of `corpus` or, without `split`, a text of its own.
struct ScoredText {
  const TokenizedText& tokens;
  std::string_view text;
  const Tokenizer& tokenizer;
  const Corpus* corpus;  // what is read before comes from it; null where there is none
  std::optional<Split> split;
  const EvalOptions& options;
  const EvalResult& result;
};

// n-grams of orders 2 and 5, then compressors, each before = nothing, train, train + val. On at most four threads.
Baselines baselines(const ScoredText& scored, const BaselineOptions& options);

}  // namespace effllm

// Proof, on somebody's own model, that its forms agree: whole = any cut = single tokens, that nothing looks ahead, that
// a state can be stored, branched and given back. What the tests check for every mechanism, checked for one model.
#pragma once
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "model/language_model.h"

namespace effllm {

struct VerifyOptions {
  uint64_t seed = 1;              // of random cuts and disturbances
  std::filesystem::path scratch;  // folder for a stored state; empty: the system's for temporary files
  Tensor read = {};               // i32 [B, S], what an encoder reads, where the model has one
};

struct Finding {
  std::string check = {};  // "single tokens"
  bool passed = true;
  double worst = 0;        // largest |difference| of a logit, over the largest |logit| (at least 1)
  double bound = 0;        // what is allowed; 0: every bit
  std::string where = {};  // of the worst: "cut 17, sequence 1, token 40"
  int64_t compared = 0;    // tokens that were compared
  int64_t flips = 0;       // tokens where a mechanism chose otherwise in another form
  double margin = 0;       // the smallest distance between chosen and not chosen among them
  std::vector<std::string> notes = {};
};

// Of a model whose tokens see each other the forms without cuts and states, and that both sides are seen.
// In the type of the model's parameters. ids: i32 [B, T], B >= 1, T >= 4. Bounds: 1e-10 in f64, 1e-4 in f32, of the
// largest |logit|; causality, stored states, branches and threads are held to every bit. Where another form chooses
// otherwise (f32 only, by rounding), the tokens from there on in that sequence are left out and counted.
std::vector<Finding> verify(const LanguageModel& model, const Tensor& ids, const VerifyOptions& options);

// The bound of what is shown and not judged, but that it is a number.
inline constexpr double kWaived = std::numeric_limits<double>::max();

// Choices that may differ, as a part of all tokens compared.
inline constexpr double kFlipsAllowed = 1e-4;

}  // namespace effllm

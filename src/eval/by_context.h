// Loss by context: how many tokens the model is given before the one that it predicts, in bands of such numbers.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

namespace effllm {

struct ContextBand {
  int64_t from = 0, to = 0;                       // tokens of context, both included
  int64_t tokens = 0, bytes = 0, characters = 0;  // that were scored
  double nats = 0;                                // sum of -log p over them
  double stderr_nats = 0;                         // standard error of nats_per_token(), NaN below two pieces
  double nats_per_token() const { return nats / static_cast<double>(tokens); }
};

// The largest context of each band: 1, 2, 4, 8 ... up to `longest`, and among them `border`, where that is below it.
std::vector<int64_t> context_bands(int64_t longest, int64_t border);

// A sum over the scored tokens of a part of the text.
struct Piece {
  double nats = 0;
  int64_t tokens = 0;
};
// Standard error of the ratio m = X / N over pieces of n_k tokens and x_k nats, N together:
// sqrt(K / (K - 1) sum (x_k - m n_k)^2) / N. NaN below two pieces.
double ratio_error(std::span<const Piece> pieces, double mean, double tokens);

// What the windows of an evaluation add to bands. Different windows may be filled at once.
class ContextTable {
 public:
  // Largest contexts of the bands, ascending, the last no less than any context; none: nothing will be added.
  ContextTable(std::vector<int64_t> ends, size_t windows);
  bool wanted() const { return !ends_.empty(); }
  // A token that was scored in this window.
  void add(size_t window, int64_t context, double nats, int64_t bytes, int64_t characters);
  // Bands that hold something, summed in the order of the windows, which `piece_of` gathers into pieces.
  std::vector<ContextBand> rows(const std::function<int64_t(size_t window)>& piece_of) const;

 private:
  std::vector<int64_t> ends_;
  std::vector<std::map<size_t, ContextBand>> windows_;  // by the number of the band
};

}  // namespace effllm

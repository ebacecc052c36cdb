// minGRU: a GRU whose gate and candidate see the input only, so that the recurrence is linear in h and scans.
//
//   z_t = sigmoid(W_z x_t)
//   h_t = (1 - z_t) * h_{t-1} + z_t * g(W_h x_t),   g(u) = u + 1/2 for u >= 0, sigmoid(u) below
//   y_t = h_t, or W_o h_t where the state is wider than the model
//
// Remembers h, [C] per sequence, and the tail of the optional convolution. Feng et al. 2024, arXiv:2410.01201; the
// candidate without g is the paper's "vanilla" form (its section 3.1).
#include "mixers/gated_rnn/min_rnn.h"

namespace effllm::mixers {
namespace {

class MinGru final : public MinRnn {
 public:
  MinGru(const Options& o, const LayerArgs& args, const Scope& s) : MinRnn(o, args, s, 1) {}

 protected:
  ScanResult scan(const std::vector<Tensor>& parts, Candidate candidate, const Tensor& h0,
                  const Tensor& segments) const override {
    return gated_scan(parts[0], parts[1], candidate, h0, segments);
  }
};

}  // namespace

extern constinit const LayerInfo min_gru = LayerInfo::of<MinGru>({
    .name = "min_gru",
    .title = "minGRU",
    .family = "gated RNN",
    .recurrence = "scan",
    .paper = "Feng et al. 2024, arXiv:2410.01201",
    .source = "lucidrains/minGRU-pytorch@38b26e1, minGRU.py; the authors published none that could be read",
    .deviations = "computed in linear space by a sequential scan, which equals the paper's log-space scan in exact "
                  "arithmetic; h starts at 0; the convolution of the paper's block is an option of the mixer",
    .variants = kMinRnnVariants,
});

}  // namespace effllm::mixers

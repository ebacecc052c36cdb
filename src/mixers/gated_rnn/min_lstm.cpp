// minLSTM: an LSTM whose gates and candidate see the input only and whose forget and input gates share one unit of
// mass, so that the recurrence is linear in h, scans, and keeps its scale over any time.
//
//   f_t = sigmoid(W_f x_t), i_t = sigmoid(W_i x_t);   f' = f / (f + i), i' = i / (f + i)
//   h_t = f'_t * h_{t-1} + i'_t * g(W_h x_t),   g(u) = u + 1/2 for u >= 0, sigmoid(u) below
//   y_t = h_t, or W_o h_t where the state is wider than the model
//
// Remembers h, [C] per sequence, and the tail of the optional convolution. Feng et al. 2024, arXiv:2410.01201; the
// candidate without g is the paper's "vanilla" form.
#include "mixers/gated_rnn/min_rnn.h"

namespace effllm::mixers {
namespace {

class MinLstm final : public MinRnn {
 public:
  MinLstm(const Options& o, const LayerArgs& args, const Scope& s) : MinRnn(o, args, s, 2) {}

 protected:
  ScanResult scan(const std::vector<Tensor>& parts, Candidate candidate, const Tensor& h0,
                  const Tensor& segments) const override {
    return ratio_scan(parts[0], parts[1], parts[2], candidate, h0, segments);
  }
};

}  // namespace

extern constinit const LayerInfo min_lstm = LayerInfo::of<MinLstm>({
    .name = "min_lstm",
    .title = "minLSTM",
    .family = "gated RNN",
    .recurrence = "scan",
    .paper = "Feng et al. 2024, arXiv:2410.01201",
    .source = "lucidrains/minGRU-pytorch@38b26e1, minLSTM.py; the authors published none that could be read",
    .deviations = "computed in linear space by a sequential scan, which equals the paper's log-space scan in exact "
                  "arithmetic; h starts at 0; the convolution of the paper's block is an option of the mixer",
    .variants = kMinRnnVariants,
});

}  // namespace effllm::mixers

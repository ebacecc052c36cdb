// What minGRU and minLSTM share (Feng et al. 2024, arXiv:2410.01201): gates and a candidate from one product, a scan,
// an optional convolution in front, and a product behind where the state is wider than the model.
#pragma once
#include "cores/scan/fused_scan.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/short_conv.h"
#include "ops/columns.h"

namespace effllm::mixers {

struct MinRnnOptions final : Options {
  double expand = 1;
  std::string candidate = "g";
  int64_t conv = 0;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the state width, as a multiple of the model width.", between(0.01, 16));
    v("candidate", candidate, "Chooses the candidate: g(W_h x), which is positive, or W_h x itself.", {"g", "linear"});
    v("conv", conv, "Sets the width of a causal depthwise convolution in front, in tokens; 0 leaves it out.",
      between(0, 64));
  }
};

inline constexpr std::string_view kMinRnnVariants[] = {"{candidate: linear}", "{expand: 2}", "{conv: 3}"};

// With so many gates beside the candidate.
class MinRnn : public Layer {
 public:
  using Options = MinRnnOptions;

  MinRnn(const Options& o, const LayerArgs& args, const Scope& s, size_t gates)
      : width_(width_of(o.expand, args, o)),
        candidate_(o.candidate == "linear" ? Candidate::linear : Candidate::positive),
        widths_(gates + 1, width_),
        in_(s / "in", args.d_model, widths_, Init::torch_linear(args.d_model)) {
    if (o.conv > 0) conv_ = std::make_unique<ShortConv>(s / "conv", o.conv, args.d_model);
    if (width_ != args.d_model)
      out_ = std::make_unique<Linear>(s / "out", width_, args.d_model, Init::torch_linear(width_), Role::residual);
  }

  void declare(Site& site) const override {
    site.field("h", {width_});
    if (conv_) conv_->declare(site);
  }

 protected:
  // Of the gates and the candidate of each token.
  virtual ScanResult scan(const std::vector<Tensor>& parts, Candidate candidate, const Tensor& h0,
                          const Tensor& segments) const = 0;

  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor u = conv_ ? (*conv_)(x, call) : x;
    auto [h, last] = scan(split_columns(in_(u), widths_), candidate_, call.read("h"), call.segments());
    call.write("h", last);
    return out_ ? (*out_)(h) : h;
  }

 private:
  int64_t width_;
  Candidate candidate_;
  std::vector<int64_t> widths_;
  std::unique_ptr<ShortConv> conv_;
  Linear in_;
  std::unique_ptr<Linear> out_;
};

}  // namespace effllm::mixers

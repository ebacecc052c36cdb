// Streams mixed by doubly stochastic matrices, in the forms of the paper, of the released model, and of the library
// that first loaded it.
#pragma once
#include <array>

#include "blocks/streams.h"
#include "ops/sinkhorn.h"

namespace effllm {

struct ManifoldOptions final : StreamOptions {
  int64_t iterations = 20;
  double eps = 1e-6;
  void visit(OptionVisitor& v) override;
};

class Manifold : public Streams {
 public:
  enum class Form { paper, released, library };
  Manifold(const ManifoldOptions& o, const LayerArgs& args, const Scope& s, Form form);

 protected:
  Tensor connected(const Tensor& streams, Part part, const Branch& branch) const override;
  Tensor collapsed(const Tensor& streams) const override;

 private:
  struct Connection {
    Parameter *weight = nullptr, *bias = nullptr, *scale = nullptr;
  };
  void connect(Part part, const LayerArgs& args, const Scope& s);
  Tensor normed(const Tensor& streams) const;      // over all of them
  Tensor above_zero(const Tensor& weights) const;  // by eps, but in the paper's form
  bool of_paper() const { return form_ == Form::paper; }

  Form form_;
  double eps_;
  SinkhornOptions sinkhorn_;
  std::array<Connection, 2> connections_;
  Connection head_;
};

template <Manifold::Form kForm>
class ManifoldIn final : public Manifold {
 public:
  using Options = ManifoldOptions;
  ManifoldIn(const Options& o, const LayerArgs& args, const Scope& s) : Manifold(o, args, s, kForm) {}
};

inline constexpr std::string_view kManifoldVariants[] = {
    "{streams: 3, iterations: 3, ffn: none}", "{streams: 4, norm_at: both, dropout: 0.2, ffn: rwkv_channel_mix}"};

// What all forms say of themselves, with what is one's own.
constexpr LayerFacts manifold_facts(std::string_view name, std::string_view title, std::string_view source,
                                    std::string_view deviations) {
  return {.name = name,
          .title = title,
          .family = "block",
          .recurrence = "that of its mixer",
          .paper = "Xie et al. 2025, arXiv:2512.24880",
          .source = source,
          .deviations = deviations,
          .prefix_and_blocks = true,
          .unseen = "what its mixer meets",
          .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
          .tiny = "{streams: 2, mixer: {type: attention, heads: 2, window: 5}, ffn: mlp}",
          .period = 5,
          .variants = kManifoldVariants};
}

}  // namespace effllm

#include "model/further_head.h"

#include "ops/columns.h"

namespace effllm {

FurtherHead::FurtherHead(const ModelConfig& config, const LayerArgs& args, const Scope& scope)
    : block_(config.layers.back().block.build(args, scope / "block")) {
  if (!config.heads_in_a_row) return;
  const auto norm = [&](std::string_view name) {
    return std::make_unique<Norm>(config.final_norm, scope / name, config.d_model);
  };
  of_stream_ = norm("hidden_norm");
  of_token_ = norm("token_norm");
  final_norm_ = norm("final_norm");
  projection_ = std::make_unique<Linear>(scope / "projection", 2 * config.d_model, config.d_model, Init::gpt2());
}

Tensor FurtherHead::input(const Tensor& x, const Tensor& embedded) const {
  return projection_ ? (*projection_)(join_columns((*of_stream_)(x), (*of_token_)(embedded))) : x;
}

}  // namespace effllm

// Layers one after the other: those of a model, or of the encoder beside it.
#pragma once
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "model/model_config.h"

namespace effllm {

inline constexpr double kEmbeddingStd = 0.02;  // GPT-2's, where neither the mechanism nor `init` says otherwise

// For each layer, how many with the same kind of mixer (the first part of its block) stand before it, and how many
// there are; a layer that uses another one's weights is no layer of its own.
struct PlaceAmongKind {
  int64_t index = 0, count = 0;
  bool used_again = false;
};

// What the layers of a list are built with; they refer to it.
class LayerPlaces {
 public:
  // `ids`: that tokens may have. `heads`: so many blocks more are like the last layer's.
  LayerPlaces(const ModelConfig& config, const std::vector<LayerSpec>& layers, int64_t ids, int64_t heads = 0);
  LayerArgs args(size_t layer) const;

 private:
  const ModelConfig& config_;
  const std::vector<LayerSpec>& layers_;
  int64_t ids_;
  std::vector<PlaceAmongKind> places_;
  std::map<std::string_view, int64_t> uses_;  // in how many layers each kind of part stands, anywhere inside
};

struct LayerStack {
  std::vector<std::shared_ptr<const Layer>> blocks;
  std::vector<const Site*> sites;
  std::unique_ptr<Norm> final_norm;
  Parameter* positions = nullptr;  // learned
  int64_t size() const { return static_cast<int64_t>(blocks.size()); }
};

// What is wrong with layers is told at their places; a block that could not be built is null.
LayerStack build_stack(const ModelConfig& config, const std::vector<LayerSpec>& layers, const LayerPlaces& places,
                       const NormOptions& norm, bool learned_positions, const Scope& scope, Site& site,
                       Diagnostics& found);

// block(x). Where a tape records, values of earlier layers and an encoder's memory have handles, so that the gradient
// of one block's is whole before it is added to that of others': however often the block takes them, and in one order
// where the pass says that backward runs the block again from what goes into it.
Tensor run_block(const Layer& block, const Tensor& x, const Call& call);

}  // namespace effllm

#include "model/layer_stack.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

namespace effllm {
namespace {

std::vector<PlaceAmongKind> places_among_kind(const std::vector<LayerSpec>& layers) {
  const auto kind = [](const LayerSpec& l) {
    const auto inside = parts(l.block);
    return inside.empty() ? l.block.name() : inside.front().choice->name();
  };
  std::vector<PlaceAmongKind> places(layers.size());
  std::map<std::string_view, int64_t> count;
  for (size_t i = 0; i < places.size(); ++i)
    if (!layers[i].same_as) places[i].index = count[kind(layers[i])]++;
  for (size_t i = 0; i < places.size(); ++i)
    if (const auto& used = layers[i].same_as)
      places[*used].used_again = true;
    else
      places[i].count = count[kind(layers[i])];
  return places;
}

// `times` more uses of what stands in a layer.
void count_parts(const LayerSpec& layer, int64_t times, std::map<std::string_view, int64_t>& count) {
  std::set<std::string_view> inside;
  for_all_inside(layer.block, [&](const Choice<LayerInfo>& part) { inside.insert(part.name()); });
  for (const std::string_view name : inside) count[name] += times;
}

}  // namespace

LayerPlaces::LayerPlaces(const ModelConfig& config, const std::vector<LayerSpec>& layers, int64_t ids, int64_t heads)
    : config_(config), layers_(layers), ids_(ids), places_(places_among_kind(layers)) {
  for (const LayerSpec& l : layers) count_parts(l, 1, uses_);
  if (!layers.empty()) count_parts(layers.back(), heads, uses_);
}

LayerArgs LayerPlaces::args(size_t layer) const {
  const PlaceAmongKind& place = places_[layer];
  return {.d_model = config_.d_model,
          .layer = static_cast<int64_t>(layer),
          .layers = static_cast<int64_t>(layers_.size()),
          .max_tokens = config_.max_tokens,
          .ids = ids_,
          .index_of_kind = place.index,
          .layers_of_kind = place.count,
          .used_again = place.used_again,
          .block = config_.block,
          .dropout = config_.dropout,
          .uses = &uses_};
}

LayerStack build_stack(const ModelConfig& config, const std::vector<LayerSpec>& layers, const LayerPlaces& places,
                       const NormOptions& norm, bool learned_positions, const Scope& scope, Site& site,
                       Diagnostics& found) {
  LayerStack stack;
  if (learned_positions)
    stack.positions =
        &(scope / "positions")
             .param("weight", {config.max_tokens, config.d_model}, Init::normal(kEmbeddingStd), {.role = Role::hidden});
  for (size_t i = 0; i < layers.size(); ++i)
    stack.blocks.push_back(layers[i].same_as ? stack.blocks[*layers[i].same_as] : found.collect([&] {
      return std::shared_ptr<const Layer>(layers[i].block.build(places.args(i), scope / fmt::format("layers.{}", i)));
    }));
  stack.final_norm = found.collect([&] { return std::make_unique<Norm>(norm, scope / "final_norm", config.d_model); });
  // Of layers after one that could not be built nothing is said: it may give what they need.
  for (size_t i = 0; i < stack.blocks.size() && stack.blocks[i]; ++i) try {
      stack.sites.push_back(&site.child(fmt::format("layers.{}", i), *stack.blocks[i]));
    } catch (const ConfigError& e) {  // of what layers share
      found.error(layers[i].block.mark(), e.what());
    }
  return stack;
}

}  // namespace effllm

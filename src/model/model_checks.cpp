// What of a model and its objective fits each other.
#include <fmt/format.h>

#include <limits>

#include "mixers/mixer.h"
#include "model/model_config.h"

namespace effllm {
namespace {

// An error at each mixer of a block, and of blocks inside it, that sees earlier tokens alone.
void require_both_sides(const Choice<LayerInfo>& layer, std::string_view who, Diagnostics& found) {
  if (!is_mixer(layer)) {
    for (const auto& part : parts(layer)) require_both_sides(*part.choice, who, found);
  } else if (!sees_both_sides(layer)) {
    found.error(layer.mark(), fmt::format("{0} needs mixers that see both sides of a token; `{1}` sees those before it "
                                          "alone: write {{type: bidirectional, of: {1}}}",
                                          who, layer.name()));
  }
}

}  // namespace

bool reads_memory(const Choice<LayerInfo>& block) {
  bool reads = false;
  for_all_inside(block, [&](const Choice<LayerInfo>& part) { reads = reads || part.info().reads_memory; });
  return reads;
}

void require_encoder_read(const ModelConfig& c, Diagnostics& found) {
  bool any = false;
  for (const LayerSpec& l : c.layers) {
    if (!reads_memory(l.block)) continue;
    any = true;
    if (!c.encoder && !l.same_as)
      found.error(l.block.mark(), "this layer has `cross`, but the model has no `encoder` that it could read");
  }
  if (c.encoder && !any && !c.layers.empty())
    found.error(
        c.encoder->mark,
        fmt::format(
            "no layer reads the encoder: give one of model.layers{} a `cross`, or leave `encoder` out",
            c.layers.front().block.mark().line ? fmt::format(" (line {})", c.layers.front().block.mark().line) : ""));
}

void require_direction(const ModelConfig& c, std::string_view objective, Diagnostics& found) {
  if (c.parts && !c.encoder && !c.layers.empty())
    found.error(c.layers.front().block.mark(),
                fmt::format("the objective {} needs an encoder: add model.encoder, and `cross` to layers such as this",
                            objective));
  if (!c.parts && c.encoder)
    found.error(c.encoder->mark, fmt::format("the objective {} has no text for an encoder: leave `encoder` and `cross` "
                                             "out, or choose an objective that has",
                                             objective));
  for (size_t i = 0; c.encoder && i < c.encoder->layers.size(); ++i)
    if (const LayerSpec& l = c.encoder->layers[i]; !l.same_as) require_both_sides(l.block, "an encoder", found);
  for (const LayerSpec& l : c.layers) {
    if (l.same_as) continue;
    if (!c.causal) {
      require_both_sides(l.block, fmt::format("the objective {}", objective), found);
      continue;
    }
    for_all_inside(l.block, [&](const Choice<LayerInfo>& m) {
      if (!m.info().causal_form)
        found.error(m.mark(), fmt::format("the objective {} needs causal mixers; `{}` lets a token see those after it",
                                          objective, m.name()));
      else if (!c.carries() && !m.info().prefix_and_blocks)
        found.error(m.mark(), fmt::format("the objective {} needs mechanisms that let {}, or take each token by "
                                          "itself; `{}` does neither",
                                          objective,
                                          c.block ? "the tokens of a block see each other"
                                                  : "the tokens of a prefix see each other",
                                          m.name()));
    });
  }
}

bool ModelConfig::fits(int64_t tokens) const {
  const auto [read, written] = parts_of(tokens);
  const bool encoder_learned = encoder && encoder->learned_positions;
  return (!learned_positions || written <= max_tokens) && (!encoder_learned || read <= max_tokens);
}

// Parts become no shorter with their row.
int64_t ModelConfig::longest_row() const {
  auto fitting = int64_t{0}, beyond = static_cast<int64_t>(kMostTokens) + 1;
  if (fits(beyond)) return std::numeric_limits<int64_t>::max();
  while (beyond - fitting > 1) {
    const int64_t between = (fitting + beyond) / 2;
    (fits(between) ? fitting : beyond) = between;
  }
  return fitting;
}

}  // namespace effllm

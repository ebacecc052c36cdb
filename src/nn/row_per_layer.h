// A parameter of the whole model with a row for each layer of a kind, such as the floors of HGRN's gates.
#pragma once
#include "base/error.h"
#include "nn/layer.h"

namespace effllm {

// `name` [layers of the kind, width], row `args.index_of_kind` is this layer's own. `widths`: what decides the width,
// for the ConfigError at `where` if layers differ.
inline Parameter& row_per_layer(const Scope& s, std::string_view name, int64_t width, const LayerArgs& args,
                                const Init& init, const Traits& traits, const Mark& where, std::string_view widths) {
  try {
    return s.shared(name, {args.layers_of_kind, width}, init, traits);
  } catch (const ShapeError&) {
    throw_at(where,
             fmt::format("the layers of this kind share `{}`, a row each: give all of them the same {}, and put them "
                         "all inside composites or none",
                         name, widths));
  }
}

}  // namespace effllm

#include "model/growth.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "config/difference.h"
#include "projections/pattention.h"

namespace effllm {
namespace {

// f(options now, options before, place) of each pattention that both have at one place.
template <class F>
void each_pattention(AnyChoice& now, const AnyChoice& before, const std::string& place, F&& f) {
  if (!now || !before || now.name() != before.name()) return;
  std::shared_ptr<Options> own = now.copied_options();
  if (auto* p = dynamic_cast<PattentionOptions*>(own.get()))
    f(*p, dynamic_cast<const PattentionOptions&>(before.options()), place);
  const auto inside = nested_choices(*own);
  const auto inside_before = nested_choices(before.options());
  for (size_t i = 0; i < std::min(inside.size(), inside_before.size()); ++i) {
    const auto same = [&](const auto& c) { return c.field == inside[i].field; };
    const auto index = std::count_if(inside.begin(), inside.begin() + static_cast<int64_t>(i), same);
    const bool several = std::ranges::count_if(inside, same) > 1;
    each_pattention(*inside[i].choice, *inside_before[i].choice,
                    several ? fmt::format("{}.{}[{}]", place, inside[i].field, index)
                            : fmt::format("{}.{}", place, inside[i].field),
                    f);
  }
  now.set_options(std::move(own));
}

template <class F>
void each_pattention(ModelConfig& now, const ModelConfig& before, F&& f) {
  const auto each = [&](std::vector<LayerSpec>& layers, const std::vector<LayerSpec>& then, std::string_view list) {
    for (size_t i = 0; i < std::min(layers.size(), then.size()); ++i)
      each_pattention(layers[i].block, then[i].block, fmt::format("{}[{}]", list, i), f);
  };
  each(now.layers, before.layers, "model.layers");
  if (now.encoder && before.encoder) each(now.encoder->layers, before.encoder->layers, "model.encoder.layers");
}

}  // namespace

GrownConfig grown_config(const ModelConfig& before, const ModelConfig& wanted, const std::string& file) {
  const int64_t width = before.d_model;
  GrownConfig grown{.config = wanted, .other_function = {}};
  ModelConfig as_before = wanted;
  bool any = false, more = false;
  each_pattention(as_before, before,
                  [&](PattentionOptions& now, const PattentionOptions& then, const std::string& place) {
                    any = true;
                    if (now.count(width) < then.count(width))
                      throw ConfigError("{}: {}.tokens: {} -> {}: tokens can be added, but not taken away", file, place,
                                        then.count(width), now.count(width));
                    more = more || now.count(width) > then.count(width);
                    now.tokens = then.tokens;
                  });
  if (const auto other = differences(write_model_config(before), write_model_config(as_before), "model");
      !other.empty())
    throw ConfigError("{}: {}: what grows changes nothing but `tokens` of pattention", file, other.front().text());
  if (!any) throw ConfigError("{}: the model has no pattention, which is what can grow", file);
  if (!more) throw ConfigError("{}: nothing grows: say how many tokens, as --set 'model.layers[*].ffn.tokens=N'", file);
  each_pattention(grown.config, before,
                  [&](PattentionOptions& now, const PattentionOptions& then, const std::string& place) {
                    if (now.count(width) == then.count(width)) return;
                    if (!now.ignores_zeros())
                      grown.other_function.push_back(fmt::format("{} ({})", place, now.nonlinearity));
                    else if (now.has_scale() && !now.scale_tokens)
                      now.scale_tokens = then.count(width);
                  });
  return grown;
}

}  // namespace effllm

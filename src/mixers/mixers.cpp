#include "mixers/mixer.h"

#define LIST all_mixers
#define KIND "mixer"
#define INFO LayerInfo
#define ENTRIES mixers
#define LINES "lists/mixers.def"
#include "config/list.inc"

namespace effllm {

bool has_causal_form(const Choice<LayerInfo>& mixer) {
  bool all = true;
  for_all_inside(mixer, [&](const Choice<LayerInfo>& m) { all = all && m.info().causal_form; });
  return all;
}

bool sees_both_sides(const Choice<LayerInfo>& mixer) {
  const LayerInfo& info = mixer.info();
  if (!info.causal_form || info.both_sides) return true;
  const auto inside = parts(mixer);
  return !inside.empty() && std::ranges::all_of(inside, [](const auto& part) { return sees_both_sides(*part.choice); });
}

bool is_mixer(const Choice<LayerInfo>& part) { return all_mixers.find_if_any(part.name()) == &part.info(); }

}  // namespace effllm

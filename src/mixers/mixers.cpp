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

}  // namespace effllm

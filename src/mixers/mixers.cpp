#include "mixers/mixer.h"

#define LIST all_mixers
#define KIND "mixer"
#define INFO MixerInfo
#define ENTRIES mixers
#define LINES "lists/mixers.def"
#include "config/list.inc"

namespace effllm {

bool has_causal_form(const Choice<MixerInfo>& mixer) {
  bool all = true;
  for_all_inside(mixer, [&](const Choice<MixerInfo>& m) { all = all && m.info().causal_form; });
  return all;
}

}  // namespace effllm

// Options of mixers that do not fit each other, or the width of the model.
#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("mixers: options that don't fit each other or the width are refused with the reason") {
  const struct {
    int64_t width;
    const char *yaml, *reason;
  } all[] = {{10, "{type: delta_net, heads: 4}", "4 heads don't divide"},
             {10, "{type: gated_delta, heads: 4}", "4 heads don't divide"},
             {32, "{type: hgrn2, head_dim: 7}", "head_dim 7"},
             {192, "{type: hgrn2}", "head_dim 128"},
             {8, "{type: linearized_attention, local: false, global: false, taps: 0}", "nothing is left"},
             {8, "{type: linearized_attention, rotary_dim: 3}", "pairs"},
             {8, "{type: mamba2, head_dim: 5}", "head_dim 5"},
             {8, "{type: mamba2, head_dim: 8, groups: 3}", "3 groups"},
             {24, "{type: mla, rope_dim: 3}", "even rope_dim instead of 3"},
             {24, "{type: mla, heads: 5}", "5 heads don't divide d_model 24"},
             {8, "{type: moba, heads: 3}", "even widths"},
             {8, "{type: nsa, heads: 2, compress_stride: 3}", "doesn't divide"},
             {8, "{type: nsa, heads: 2, kv_heads: 3}", "kv_heads"},
             {8, "{type: nsa, heads: 8}", "odd width"},
             {8, "{type: nsa, heads: 3}", "give head_dim"},
             {24, "{type: parallel, branches: []}", "a list of mixers"},
             {8, "{type: rg_lru, blocks: 3}", "3 blocks don't divide"},
             {8, "{type: s4d, state: 5}", "pairs"},
             {8, "{type: ttt_linear, heads: 3}", "into even widths"},
             {8, "{type: ttt_linear, heads: 8}", "into even widths"}};
  for (const auto& [width, yaml, reason] : all) {
    CAPTURE(yaml);
    CHECK_THROWS_WITH_AS(BuiltMixer(yaml, width), doctest::Contains(reason), ConfigError);
  }
}

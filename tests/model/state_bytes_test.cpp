#include "model/state_bytes.h"

#include <doctest/doctest.h>

#include "model/language_model.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

std::unique_ptr<LanguageModel> of(const std::string& mixer) {
  return build_model_for(next_token(), ("{d_model: 8, layers: [{mixer: " + mixer + "}]}").c_str(), 6);
}

}  // namespace

TEST_CASE("state bytes: recurrences remember as much after any text, attention rows of each token or of its window") {
  for (const int64_t tokens : {0, 1, 20, 1000}) {
    const auto bytes = [&](const std::string& mixer) {
      return state_bytes(of(mixer)->decoding_site(), tokens, DType::f32);
    };
    for (const char* mixer : {"min_gru", "{type: gla, heads: 2}", "lstm", "mamba"}) {
      CHECK(bytes(mixer).rows == 0);
      CHECK(bytes(mixer).all > 0);
      CHECK(bytes(mixer).all == state_bytes(of(mixer)->decoding_site(), 5, DType::f32).all);
    }
    CHECK(bytes("min_gru").all == 8 * 4);
    const StateBytes full = bytes("{type: attention, heads: 2}"),
                     near = bytes("{type: attention, heads: 2, window: 9}");
    CHECK(full.rows == full.all);
    CHECK(full.all == tokens * 2 * 8 * 4);
    CHECK(near.all == std::min<int64_t>(tokens, 8) * 2 * 8 * 4);
    const StateBytes both = bytes("{type: parallel, branches: [{type: attention, heads: 2}, min_gru]}");
    CHECK(both.rows == full.all);
    CHECK(both.all == full.all + 8 * 4);
    CHECK(state_bytes(of("min_gru")->decoding_site(), tokens, DType::f64).all == 8 * 8);
  }
}

TEST_CASE("state bytes: what a real state holds is what is declared, with any room") {
  for (const char* mixer :
       {"min_gru", "{type: gla, heads: 2}", "{type: attention, heads: 2}", "{type: attention, heads: 2, window: 9}",
        "{type: nsa, heads: 2, kv_heads: 1, compress_block: 4, compress_stride: 2, select_block: 4, select: 3, window: "
        "5}",
        "{type: moba, heads: 2, block: 4, top_k: 2}", "{type: mla, heads: 2}"}) {
    CAPTURE(mixer);
    const auto model = of(mixer);
    for (const int64_t tokens : {1, 7, 33})
      for (const int64_t room : {0, 5, 100}) {
        State state = model->make_state(1, tokens + room);
        model->logits(random_ids(1, tokens, 6, 1), {}, &state);
        const StateBytes is = state_bytes(state, tokens),
                         declared = state_bytes(model->decoding_site(), tokens, model->params().dtype());
        CHECK(is.all == declared.all);
        CHECK(is.rows == declared.rows);
      }
  }
}

// Blocks with several residual streams: what they are equal to, how they start, what they cost.
#include <doctest/doctest.h>

#include "blocks/block.h"
#include "blocks/depth_models.h"
#include "mixers/built_mixer.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 8;
const std::string kInside = "mixer: {type: attention, heads: 2}, ffn: {type: mlp, expand: 2}";

BuiltMixer block(std::string_view type, const std::string& options, int64_t layer = 0, int64_t layers = 2) {
  return BuiltMixer(all_blocks.find(type), "{" + options + kInside + "}", kWidth, layer, layers);
}
// A residual block with the same parts.
struct Plain : BuiltMixer {
  explicit Plain(const BuiltMixer& m) : BuiltMixer(all_blocks.find("residual"), "{" + kInside + "}", kWidth, 0, 2) {
    for (const Parameter* p : store.sorted()) copy(m[p->name].value, p->value);
  }
};
std::unique_ptr<LanguageModel> model_of(const std::string& block_yaml) {
  return build_model(
      "{d_model: 8, init: {std: 0.3}, final_norm: {eps: 0}, block: {" + block_yaml +
          "norm: {eps: 0}, ffn: mlp}, layers: [{repeat: 3, of: [{mixer: {type: attention, heads: 2}}]}]}",
      13);
}
// Of the parts alone: what the same seed draws for one name is the same.
void check_same_as_plain(const std::string& type, double bound) {
  CAPTURE(type);
  const auto model = model_of(type), plain = model_of("");
  const Tensor ids = random_ids(2, 7, 13, 1);
  CHECK(max_diff(model->logits(ids, {}), plain->logits(ids, {})) < bound);
}
// One later layer, given these streams.
Tensor after(const BuiltMixer& m, const Tensor& streams, Tensor* left = nullptr) {
  Site root;
  root.count_tokens();
  root.child("before").gives("streams", streams.cols());
  const Site& site = root.child("it", *m.mixer);
  Context cx;
  cx.shelf->emplace("streams", streams);
  const Tensor y = m.mixer->forward(Tensor::zeros(streams.shape().with(-1, kWidth), DType::f64), Call(cx, site));
  if (left) *left = cx.shelf->at("streams");
  return y;
}
Tensor total(const Tensor& streams) {
  Tensor sum;
  for (const Tensor& s :
       split_columns(streams, std::vector<int64_t>(static_cast<size_t>(streams.cols() / kWidth), kWidth)))
    sum = sum.defined() ? add(sum, s) : s;
  return sum;
}

}  // namespace

TEST_CASE("hyper_connections: one static stream is the residual block to the bit") {
  BuiltMixer m = block("hyper_connections", "streams: 1, dynamic: false, ");
  for (const char* part : {"mixer.qkv.weight", "mixer.out.weight", "ffn.up.weight", "ffn.down.weight"}) {
    const Tensor& w = m[part].value;
    copy(random(w.shape(), fnv1a(part)), w);
  }
  const Tensor x = random({2, 7, kWidth}, 1);
  CHECK(same_bits(m.forward(x), Plain(m).forward(x)));
}

TEST_CASE("hyper_connections: as it starts, static or dynamic, any number of streams is the pre-norm model") {
  for (const char* options : {"streams: 1, ", "streams: 3, ", "streams: 4, dynamic: false, "})
    check_same_as_plain("type: hyper_connections, " + std::string(options), 1e-11);
}

TEST_CASE("attn_res: as it starts it is the pre-norm model, whose norms don't see that sums are means") {
  for (const char* options : {"", "block_size: 2, ", "block_size: 4, "})
    check_same_as_plain("type: attn_res, eps: 0, " + std::string(options), 1e-11);
}

TEST_CASE("mhc: an open gate and one stream are the residual block") {
  BuiltMixer m = block("mhc", "streams: 1, ");
  for (const char* part : {"mixer_connection.bias", "ffn_connection.bias"}) put(m[part].value, 0, 0, 40);
  for (const char* part : {"mixer.out.weight", "ffn.down.weight"}) {
    const Tensor& w = m[part].value;
    copy(random(w.shape(), fnv1a(part)), w);
  }
  const Tensor x = random({2, 7, kWidth}, 1);
  CHECK(max_diff(m.forward(x), Plain(m).forward(x)) < 1e-13);
}

TEST_CASE("mhc: what mixes the streams is doubly stochastic: equal streams stay, and their sum does") {
  for (const char* type : {"mhc", "mhc_deepseek_v4", "mhc_transformers"}) {
    CAPTURE(type);
    BuiltMixer m = block(type, "streams: 4, iterations: 1000, eps: 1e-12, ");
    m.shake(0.1);
    for (const char* part : {"mixer_connection.bias", "ffn_connection.bias"}) {
      const Tensor& bias = m[part].value;
      copy(random(bias.shape(), fnv1a(part)), bias);
    }
    for (const char* part : {"mixer.out.weight", "ffn.down.weight"}) fill(m[part].value, 0);
    const Tensor streams = random({2, 5, 4 * kWidth}, 3), x = random({2, 5, kWidth}, 4);
    Tensor left;
    after(m, streams, &left);
    CHECK(max_diff(left, streams) > 0.1);
    CHECK(max_diff(total(left), total(streams)) < 1e-8);
    const Tensor equal = join_columns(join_columns(x, x), join_columns(x, x));
    after(m, equal, &left);
    CHECK(max_diff(left, equal) < 1e-8);
  }
}

TEST_CASE("streams: what comes after them reads their sum, or what the forms with a head have learned") {
  for (const char* type : {"hyper_connections", "mhc"}) {
    BuiltMixer m = block(type, "streams: 3, ");
    m.shake(0.3);
    Tensor left;
    const Tensor y = after(m, random({2, 5, 3 * kWidth}, 3), &left);
    CHECK(max_diff(y, total(left)) < 1e-13);
  }
  for (const char* type : {"mhc_deepseek_v4", "mhc_transformers"}) {
    BuiltMixer m = block(type, "streams: 3, eps: 0, ");
    m.shake(0.3);
    fill(m["streams_head.weight"].value, 0);
    fill(m["streams_head.bias"].value, -50);
    put(m["streams_head.bias"].value, 0, 1, 50);
    Tensor left;
    const Tensor y = after(m, random({2, 5, 3 * kWidth}, 3), &left);
    CHECK(max_diff(y, split_columns(left, {kWidth, kWidth, kWidth})[1]) < 1e-13);
  }
}

TEST_CASE("hyper_connections: starts as in the paper, each part of each layer reads another stream") {
  for (const int64_t layer : {0, 1, 4}) {
    const BuiltMixer m = block("hyper_connections", "streams: 3, ", layer, 5);
    for (const auto& [part, number] : {std::pair{std::string("mixer"), 2 * layer}, {"ffn", 2 * layer + 1}}) {
      const Tensor& alpha = m[part + "_connection.static_alpha"].value;
      for (int64_t j = 0; j < 3; ++j)
        for (int64_t i = 0; i < 4; ++i) CHECK(at(alpha, 0, j * 4 + i) == (i == 0 ? j == number % 3 : j == i - 1));
      m.check_free(part + "_connection.static_beta", 1);
      CHECK_FALSE(m[part + "_connection.static_alpha"].traits.decay);
      CHECK(m.all(part + "_connection.alpha.weight", 0));
      CHECK(m.all(part + "_connection.beta.weight", 0));
      CHECK(m[part + "_connection.alpha.weight"].traits.decay);
      CHECK(m.all(part + "_connection.alpha_scale", 0.01));
      CHECK(m.all(part + "_connection.beta_scale", 0.01));
      m.check_free(part + "_connection.norm.weight", 1);
      m.check_free(part + "_connection.norm.bias", 0);
    }
  }
  CHECK(block("hyper_connections", "dynamic: false, ").store.find("mixer_connection.alpha.weight") == nullptr);
}

TEST_CASE("mhc: starts with streams apart, one read most, and the released form as Hugging Face's") {
  const BuiltMixer m = block("mhc", "streams: 3, ", 1);
  CHECK(m.all("mixer_connection.weight", 0));
  CHECK(m.all("mixer_connection.scale", 0.01));
  CHECK_FALSE(m["mixer_connection.scale"].traits.decay);
  CHECK_FALSE(m["mixer_connection.bias"].traits.decay);
  for (int64_t i = 0; i < 3; ++i) {
    CHECK(at(m["mixer_connection.bias"].value, 0, i) == (i == 2 ? 1 : -1));  // part 2 of all
    CHECK(at(m["ffn_connection.bias"].value, 0, i) == (i == 0 ? 1 : -1));
    CHECK(at(m["mixer_connection.bias"].value, 0, 3 + i) == 0);
    for (int64_t j = 0; j < 3; ++j) CHECK(at(m["ffn_connection.bias"].value, 0, 6 + 3 * i + j) == (i == j ? 0 : -8));
  }
  for (const char* type : {"mhc_deepseek_v4", "mhc_transformers"}) {
    const BuiltMixer v4(all_blocks.find(type), "{mixer: min_gru, ffn: none}", 64);
    v4.check_deviation("mixer_connection.weight", 0.02, 0.03);
    v4.check_deviation("streams_head.weight", 0.02, 0.1);
    v4.check_free("mixer_connection.bias", 0);
    v4.check_free("mixer_connection.scale", 1);
    v4.check_free("streams_head.bias", 0);
    v4.check_free("streams_head.scale", 1);
  }
}

TEST_CASE("attn_res: queries start at zero, norms of keys do not decay, the last is the model's") {
  const BuiltMixer m = block("attn_res", "");
  for (const char* query : {"mixer_query", "ffn_query", "attn_res.query"}) {
    CHECK(m.all(query, 0));
    CHECK(m[query].traits.decay);
  }
  for (const char* norm : {"mixer_key_norm.weight", "ffn_key_norm.weight", "attn_res.key_norm.weight"})
    m.check_free(norm, 1);
  const auto model = build_model("{d_model: 8, layers: [{repeat: 2, of: [{type: attn_res, mixer: min_gru}]}]}", 13);
  CHECK(model->params().find("attn_res.query") != nullptr);
  CHECK(model->params().find("layers.1.mixer_query") != nullptr);
  CHECK(model->params().find("layers.1.ffn_query") == nullptr);
}

TEST_CASE("attn_res: a query that fits one source reads it alone") {
  BuiltMixer m = block("attn_res", "norm: {weight: false}, ");
  fill(m["attn_res.query"].value, 0);
  put(m["attn_res.query"].value, 0, 0, 1e4);
  for (const char* part : {"mixer.out.weight", "ffn.down.weight"}) fill(m[part].value, 0);
  const Tensor x = mapped(random({2, 5, kWidth}, 1), [](double v) { return std::abs(v) + 0.5; });
  CHECK(max_diff(m.forward(x), x) < 1e-13);  // the others are zeros
}

TEST_CASE("streams and attn_res: costs are those of the parts and of the connections, memory is that of the parts") {
  const Tensor x = random({2, 7, kWidth}, 1);
  const double plain = block("residual", "").forward_cost(x).dense_flops, rows = 14, d = kWidth;
  const auto more = [&](std::string_view type, const std::string& options) {
    return (block(type, options).forward_cost(x).dense_flops - plain) / rows;
  };
  CHECK(more("hyper_connections", "streams: 3, dynamic: false, ") == 0);
  CHECK(more("hyper_connections", "streams: 3, ") == 2 * 2 * 3 * d * (3 + 2));
  CHECK(more("mhc", "streams: 3, ") == 2 * 2 * 3 * d * (9 + 6));
  for (const char* type : {"mhc_deepseek_v4", "mhc_transformers"})
    CHECK(more(type, "streams: 3, ") == 2 * 2 * 3 * d * (9 + 6) + 2 * 3 * d * 3);
  CHECK(more("attn_res", "") == 0);
  for (const char* type : {"hyper_connections", "mhc", "mhc_deepseek_v4", "mhc_transformers", "attn_res"})
    CHECK(block(type, "").bytes(10) == block("residual", "").bytes(10));
}

TEST_CASE("streams and attn_res: models of them, beside other blocks, with shared layers") {
  const std::string attention = "mixer: {type: attention, heads: 2, window: 3}, ffn: {type: mlp, expand: 1}}";
  for (const std::string type :
       {"type: hyper_connections, streams: 2, ", "type: hyper_connections, streams: 3, dynamic: false, ",
        "type: mhc, streams: 2, iterations: 4, ", "type: mhc_deepseek_v4, streams: 3, iterations: 4, ",
        "type: mhc_transformers, streams: 3, iterations: 4, ", "type: attn_res, ", "type: attn_res, block_size: 2, ",
        "type: attn_res, block_size: 4, "}) {
    const std::string one = "{" + type + attention, gru = "{" + type + "mixer: min_gru, ffn: none}";
    check_depth_model(one + ", " + gru + ", " + one);
    check_depth_model("{id: a, " + type + attention + ", {use: a}, {mixer: min_gru}, " + gru + ", " + one);
  }
  check_depth_model("{type: mhc, streams: 2, " + attention + ", {type: hyper_connections, streams: 2, mixer: min_gru}");
}

TEST_CASE("streams and attn_res: what would do nothing, or does not fit, is told") {
  const auto told = [](const std::string& layers) {
    try {
      build_model("{d_model: 8, layers: [" + layers + "]}", 13);
    } catch (const ConfigError& e) {
      return std::string(e.what());
    }
    return std::string("nothing");
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  for (const char* type : {"hyper_connections", "mhc", "mhc_deepseek_v4", "mhc_transformers", "attn_res"})
    CHECK(has(told("{type: " + std::string(type) + ", mixer: min_gru, ffn: mlp, parallel: true}"),
              "leave `parallel` out"));
  CHECK(has(told("{type: mhc, streams: 2, mixer: min_gru}, {type: mhc, streams: 3, mixer: min_gru}"),
            "layers.1 needs `streams` of width 24, but they are given with width 16"));
  CHECK(told("{type: mhc, streams: 2, mixer: min_gru}, {mixer: min_gru}, {type: mhc, streams: 3, mixer: min_gru}") ==
        "nothing");
  CHECK(has(told("{type: mhc_deepseek_v4, streams: 2, mixer: min_gru}, {mixer: min_gru}, {type: mhc_deepseek_v4, "
                 "streams: 3, mixer: min_gru}"),
            "give all of them as many"));
  CHECK(has(told("{type: attn_res, block_size: 3, mixer: min_gru}"), "block_size is 1 or even"));
  CHECK(told("{repeat: 14, of: [{type: attn_res, mixer: min_gru, ffn: mlp}]}") == "nothing");
  CHECK(has(told("{repeat: 15, of: [{type: attn_res, mixer: min_gru, ffn: mlp}]}"), "give them a larger block_size"));
  CHECK(told("{repeat: 30, of: [{type: attn_res, block_size: 4, mixer: min_gru, ffn: mlp}]}") == "nothing");
}

#include "model/model_config.h"

#include <doctest/doctest.h>

#include "blocks/residual.h"
#include "config/expect.h"
#include "model/language_model.h"

using namespace effllm;
using effllm::testing::config_error;

namespace {

ModelConfig read_model(std::string_view yaml, int64_t context = 64) {
  return read_model_config(parse_config(yaml, "m.yaml"), context);
}

const ResidualOptions& options(const LayerSpec& l) { return dynamic_cast<const ResidualOptions&>(l.block.options()); }

std::string types(const ModelConfig& c) {
  std::string s;
  for (const LayerSpec& l : c.layers) {
    if (!s.empty()) s += ' ';
    const ResidualOptions& o = options(l);
    s += fmt::format("{}+{}", o.mixer.name(), o.ffn ? o.ffn.name() : "none");
    if (l.block.name() != kDefaultBlock) s += fmt::format(":{}", l.block.name());
    if (l.same_as) s += "=" + std::to_string(*l.same_as);
  }
  return s;
}

}  // namespace

TEST_CASE("model config: repeat unrolls, also one inside another") {
  CHECK(types(read_model("{layers: [{repeat: 2, of: [{mixer: {type: gla}}, {mixer: {type: attention}}]}, "
                         "{mixer: {type: min_gru}}]}")) ==
        "gla+none attention+none gla+none attention+none min_gru+none");
  CHECK(types(read_model("{layers: [{repeat: 2, of: [{mixer: {type: gla}}, {repeat: 2, of: [{mixer: {type: min_gru}}]}"
                         "]}]}")) == "gla+none min_gru+none min_gru+none gla+none min_gru+none min_gru+none");
}

TEST_CASE("model config: defaults of `block` hold where a layer says nothing") {
  const ModelConfig c = read_model(
      "block: {norm: {type: layer_norm, bias: true}, mixer: gla, ffn: {type: mlp, expand: 2}}\n"
      "layers:\n"
      "  - {}\n"
      "  - {mixer: attention, norm: rms_norm}\n"
      "  - {ffn: none}\n"
      "  - {ffn: {type: none}}\n"
      "  - {mixer: {type: min_gru}, ffn: swiglu, norm: {eps: 0.001}}\n");
  CHECK(types(c) == "gla+mlp attention+mlp gla+none gla+none min_gru+swiglu");
  CHECK(options(c.layers[0]).norm.type == "layer_norm");
  CHECK(options(c.layers[0]).norm.bias);
  CHECK(options(c.layers[1]).norm.type == "rms_norm");
  CHECK(options(c.layers[4]).norm.type == "layer_norm");
  CHECK(options(c.layers[4]).norm.eps == 0.001);
  CHECK(options(c.layers[0]).ffn.write().find("expand")->text() == "2.0");
  CHECK(c.final_norm.type == "layer_norm");
  CHECK(read_model("{block: {norm: layer_norm}, final_norm: rms_norm, layers: [{mixer: gla}]}").final_norm.type ==
        "rms_norm");
}

TEST_CASE("model config: `use` names an earlier layer") {
  const ModelConfig c = read_model(
      "{layers: [{id: a, mixer: gla, ffn: mlp}, {id: b, mixer: min_gru}, {use: a}, {use: b}, {repeat: 2, of: [{use: "
      "a}]}]}");
  CHECK(types(c) == "gla+mlp min_gru+none gla+mlp=0 min_gru+none=1 gla+mlp=0 gla+mlp=0");
}

TEST_CASE("model config: max_tokens is the context of training where nothing else is said") {
  CHECK(read_model("{layers: [{mixer: gla}]}", 48).max_tokens == 48);
  CHECK(read_model("{max_tokens: 100, layers: [{mixer: gla}]}", 48).max_tokens == 100);
}

TEST_CASE("model config: the resolved text read again gives the same text and the same model") {
  for (const char* yaml :
       {"{layers: [{repeat: 2, of: [{mixer: attention, ffn: mlp}]}]}",
        "{d_model: 24, positions: learned, tie_embeddings: false, dropout: 0.1, init: {std: 0.02}, final_norm: {eps: "
        "1e-6}, block: {norm: layer_norm, ffn: {type: swiglu, expand: 2.67, multiple_of: 8}}, layers: [{id: x, mixer: "
        "{type: attention, heads: 2, window: 7, sinks: 1, qk_norm: true}}, {mixer: {type: gla, gate: head, conv: 4}}, "
        "{use: x}, {mixer: {type: min_gru, expand: 1.5}, ffn: none}]}"}) {
    const ModelConfig first = read_model(yaml, 32);
    const std::string text = to_yaml(write_model_config(first));
    const ModelConfig second = read_model_config(parse_config(text, "resolved"), 32);
    CHECK(to_yaml(write_model_config(second)) == text);
    CHECK(types(second) == types(first));
    const LanguageModel a(first, 50), b(second, 50);
    CHECK(a.params().count() == b.params().count());
  }
}

TEST_CASE("model config: each error says where it is and what would be right") {
  struct Case {
    const char *yaml, *place;
    std::vector<const char*> parts;
  };
  const Case cases[] = {
      {"layers:\n  - mixer: {type: atention}\n", "m.yaml:2:19", {"`atention`", "Did you mean `attention`"}},
      {"layers:\n  - mixer: {type: gla, head: 2}\n", "m.yaml:2:24", {"`head`", "`heads`"}},
      {"layers:\n  - mixer: {type: gla, heads: two}\n", "m.yaml:2:31", {"heads", "integer"}},
      {"layers:\n  - mixer: {type: gla, heads: 0}\n", "m.yaml:2:31", {"heads", "1 to 1024"}},
      {"layers:\n  - {mixer: gla, ffn: {type: swigloo}}\n", "m.yaml:2:30", {"ffn", "`swiglu`"}},
      {"layers:\n  - {mixer: gla, ffn: {type: mlp, activation: gelo}}\n", "m.yaml:2:47", {"gelo", "gelu"}},
      {"layers:\n  - {mixer: {heads: 2}}\n", "m.yaml:2:13", {"no `type`", "effllm list mixers"}},
      {"layers:\n  - {mixer: [gla]}\n", "m.yaml:2:13", {"a map with a `type`"}},
      {"layers:\n  - {ffn: mlp}\n", "m.yaml:2:5", {"no `mixer`"}},
      {"layers:\n  - gla\n", "m.yaml:2:5", {"a layer is a map"}},
      {"layers:\n  - {use: b}\n", "m.yaml:2:5", {"no earlier layer has the id `b`"}},
      {"layers:\n  - {id: a, mixer: gla}\n  - {id: a, mixer: gla}\n", "m.yaml:3:5", {"`a` is taken"}},
      {"layers:\n  - {id: a, mixer: gla}\n  - {use: a, ffn: mlp}\n",
       "m.yaml:3:14",
       {"`ffn` does nothing beside `use`"}},
      {"layers:\n  - {id: a, mixer: gla}\n  - {use: a, id: b, norm: none}\n",
       "m.yaml:3:14",
       {"`id` does", "`norm` does"}},
      {"layers:\n  - {mixer: gla}\n  - {use: \"\"}\n", "m.yaml:3:5", {"no earlier layer has the id ``"}},
      {"layers:\n  - {repeat: 2, mixer: gla}\n", "m.yaml:2:5", {"`repeat` takes a count"}},
      {"layers:\n  - {repeat: 2, of: [{mixer: gla}], ffn: mlp}\n",
       "m.yaml:2:37",
       {"`ffn` does nothing beside `repeat`"}},
      {"layers:\n  - {repeat: 2, of: [{mixer: gla}], id: a}\n", "m.yaml:2:37", {"`id` does nothing beside `repeat`"}},
      {"layers:\n  - {repeat: 2, of: [{mixer: gla}], mixer: gla}\n", "m.yaml:2:37", {"`mixer` does nothing"}},
      {"layers:\n  - {repeat: 0, of: [{mixer: gla}]}\n", "m.yaml:2:14", {"repeat", "1 to 10000"}},
      {"layers:\n  - {repeat: 2, of: [{id: a, mixer: gla}]}\n", "m.yaml:2:21", {"`a`", "outside `repeat`"}},
      {"layers:\n  - {of: [{mixer: gla}]}\n", "m.yaml:2:5", {"`repeat` takes a count"}},
      {"layers:\n  - {mixer: gla, norm: batch_norm}\n", "m.yaml:2:24", {"batch_norm", "rms_norm"}},
      {"d_modle: 8\nlayers:\n  - {mixer: gla}\n", "m.yaml:1:1", {"`d_modle`", "`d_model`"}},
      {"dropout: 1.5\nlayers:\n  - {mixer: gla}\n", "m.yaml:1:10", {"dropout", "0 to 0.99"}},
      {"positions: rope\nlayers:\n  - {mixer: gla}\n", "m.yaml:1:12", {"rope", "learned"}},
      {"init: {sdt: 0.1}\nlayers:\n  - {mixer: gla}\n", "m.yaml:1:8", {"`sdt`", "`std`"}},
      {"block: {nrom: rms_norm}\nlayers:\n  - {mixer: gla}\n", "m.yaml:1:9", {"`nrom`", "`norm`"}},
      {"d_model: 8\n", "m.yaml:1:1", {"no `layers`"}},
      {"{positions: learned, max_tokens: 32, layers: [{mixer: gla}]}", "m.yaml:1:1", {"max_tokens is 32", "64"}},
  };
  for (const Case& c : cases) {
    const std::string message = config_error([&] { read_model(c.yaml); });
    INFO(message);
    CHECK(has(message, c.place));
    for (const char* part : c.parts) CHECK(has(message, part));
  }
}

TEST_CASE("model config: several errors are reported together, each once") {
  const std::string message = config_error([] {
    read_model(
        "d_model: 0\n"
        "dropuot: 0.1\n"
        "layers:\n"
        "  - {repeat: 3, of: [{mixer: {type: glaa}}]}\n"
        "  - {mixer: {type: gla, heads: -1}, ffn: {type: mlp, expand: wide}}\n"
        "  - {use: nobody}\n");
  });
  INFO(message);
  for (const char* place : {"m.yaml:1:10", "m.yaml:2:1", "m.yaml:4:37", "m.yaml:5:32", "m.yaml:5:62", "m.yaml:6:5"}) {
    CHECK(has(message, place));
    CHECK(message.find(place) == message.rfind(place));
  }
  // Who uses a layer that is wrong has the right id.
  CHECK_FALSE(has(config_error([] { read_model("{layers: [{id: a, ffn: mlp}, {use: a}]}"); }), "no earlier layer"));
}

TEST_CASE("model config: what doesn't fit a mixer is an error where the model is built") {
  const auto build = [](std::string_view yaml) { return config_error([&] { LanguageModel(read_model(yaml), 16); }); };
  const std::string uneven = build("d_model: 10\nlayers:\n  - {mixer: {type: attention, heads: 4}}\n");
  CHECK(has(uneven, "m.yaml:3:"));
  CHECK(has(uneven, "d_model 10"));
  CHECK(has(build("d_model: 8\nlayers:\n  - {mixer: {type: gla, heads: 3}}\n"), "3 heads"));
  CHECK(has(build("d_model: 8\nlayers:\n  - {mixer: {type: attention, heads: 2, sinks: 1}}\n"), "sinks"));
}

TEST_CASE("model config: a width that rounds to nothing is an error at its options, in every mechanism") {
  int found = 0;
  for (const List<LayerInfo>* list : {&all_mixers, &all_ffns})
    for (const LayerInfo* info : *list)
      for (const char* key : {"expand", "expand_k", "expand_v"}) {
        ParamStore store;
        const std::string error = config_error([&] {
          list->read(parse_config(fmt::format("{{type: {}, {}: 0.01}}", info->name, key), "m.yaml"))
              .build({.d_model = 8, .layer = 0, .layers = 1, .max_tokens = 8}, Scope(store));
        });
        found += has(error, "m.yaml:1:1: error: 0.01 times d_model 8 leaves no width");
      }
  CHECK(found >= 18);
}

TEST_CASE(
    "model config: options that don't fit are told together, of all layers and of mixers inside mixers, each once") {
  const std::string message = config_error([] {
    LanguageModel(read_model("d_model: 10\n"
                             "block: {norm: {type: rms_norm, bias: true}, ffn: swiglu}\n"
                             "layers:\n"
                             "  - {repeat: 3, of: [{mixer: {type: attention, heads: 4, kv_heads: 3, sinks: 1}}]}\n"
                             "  - mixer:\n"
                             "      type: parallel\n"
                             "      branches:\n"
                             "        - {type: taylor, heads: 3}\n"
                             "        - {type: parallel, branches: [gru, {type: moba, heads: 4}]}\n"
                             "        - {type: s4d, state: 3}\n"),
                  16);
  });
  INFO(message);
  for (const char* part : {"m.yaml:2:", "rms_norm has no bias", "m.yaml:4:", "4 heads don't divide d_model 10",
                           "3 kv_heads don't divide 4 heads", "sinks belong to a window", "m.yaml:8:",
                           "taylor: 3 heads", "m.yaml:9:", "moba: 4 heads", "m.yaml:10:", "s4d: a state of 3"}) {
    CHECK(has(message, part));
    if (std::string_view(part).find(' ') != std::string_view::npos) CHECK(message.find(part) == message.rfind(part));
  }
}

TEST_CASE("model config: a default of `block` is read once, and one that no layer takes is read too") {
  const auto message = [](const char* yaml) { return config_error([&] { read_model(yaml); }); };
  const std::string twice = message("block: {mixer: {type: gla, heads: 0}}\nlayers: [{}, {}]\n");
  CHECK(has(twice, "m.yaml:1:"));
  CHECK(twice.find("1 to 1024") == twice.rfind("1 to 1024"));
  CHECK(has(message("block: {mixer: glaa}\nlayers: [{mixer: gla}]\n"), "Did you mean `gla`?"));
  CHECK_FALSE(has(message("block: {mixer: glaa}\nlayers: [{}]\n"), "no `mixer`"));
}

TEST_CASE("model config: layers that would never end are refused") {
  CHECK(has(config_error([] {
              read_model("{layers: [{repeat: 1000, of: [{repeat: 1000, of: [{repeat: 1000, of: [{mixer: gla}]}]}]}]}");
            }),
            "10,000"));
}

TEST_CASE("model config: mixers inside mixers are checked with their places and written out in full") {
  const std::string nested =
      "layers:\n"
      "  - mixer:\n"
      "      type: parallel\n"
      "      branches:\n"
      "        - {type: attention, heads: 2}\n"
      "        - {type: parallel, branches: [gla, {type: min_gru, conv: 3}]}\n";
  const ModelConfig c = read_model("d_model: 8\n" + nested);
  const ConfigNode full = write_model_config(c);
  const ConfigNode& mixer = *full.find("layers")->items()[0].find("mixer");
  const ConfigNode& inner = mixer.find("branches")->items()[1];
  CHECK(mixer.find("branches")->items()[0].find("rope_theta")->text() == "10000.0");
  CHECK(inner.find("branches")->items()[0].find("gate_rank")->text() == "16");
  CHECK(inner.find("branches")->items()[1].find("candidate")->text() == "g");
  CHECK(to_yaml(write_model_config(read_model_config(full, 64))) == to_yaml(full));

  const auto broken = [&](const char* from, const char* to) {
    std::string text = nested;
    text.replace(text.find(from), std::string(from).size(), to);
    return config_error([&] { read_model(text); });
  };
  CHECK(has(broken("conv: 3", "cnov: 3"), "m.yaml:6:"));
  CHECK(has(broken("conv: 3", "cnov: 3"), "mixer `min_gru` has no option `cnov`. Did you mean `conv`?"));
  CHECK(has(broken("heads: 2", "heads: 0"), "m.yaml:5:"));
  CHECK(has(broken("[gla,", "[gal,"), "no mixer is called `gal`"));
  CHECK(has(broken("type: min_gru, conv", "conv"), "this mixer has no `type`"));
}

TEST_CASE("model config: an objective that is not causal needs mixers that see both sides, wherever they stand") {
  const auto errors = [](std::string_view yaml) {
    Diagnostics found;
    ModelConfig c = read_model(yaml);
    c.causal = false;
    require_direction(c, "masked_diffusion", found);
    return found.empty() ? std::string() : config_error([&] { found.throw_if_any(); });
  };
  CHECK(errors("{layers: [{mixer: attention, ffn: rwkv_channel_mix}, {mixer: mla}, {mixer: {type: bidirectional}}, "
               "{mixer: {type: parallel, branches: [attention, {type: bidirectional, of: gla}]}}]}")
            .empty());
  const std::string found = errors(
      "layers:\n"
      "  - {mixer: attention}\n"
      "  - {mixer: gla}\n"
      "  - {type: layer_drop, mixer: {type: parallel, branches: [attention, min_gru]}}\n"
      "  - {mixer: moba}\n");
  for (const char* place : {"m.yaml:3:", "m.yaml:4:", "m.yaml:5:"}) CHECK(has(found, place));
  CHECK_FALSE(has(found, "m.yaml:2:"));
  CHECK(has(found,
            "masked_diffusion needs mixers that see both sides of a token; `gla` sees those before it alone: write "
            "{type: bidirectional, of: gla}"));
}

TEST_CASE("model config: a causal objective needs mixers with a causal form, wherever they stand") {
  const auto errors = [](std::string_view yaml) {
    Diagnostics found;
    require_direction(read_model(yaml), "next_token", found);
    return found.empty() ? std::string() : config_error([&] { found.throw_if_any(); });
  };
  CHECK(errors("{layers: [{mixer: gla}, {mixer: {type: parallel}}]}").empty());
  const std::string found = errors(
      "layers:\n"
      "  - {mixer: gla}\n"
      "  - {mixer: {type: bidirectional, of: gla}}\n"
      "  - mixer: {type: parallel, branches: [gla, {type: bidirectional}]}\n");
  CHECK(has(found, "m.yaml:3:"));
  CHECK(has(found, "m.yaml:4:45"));
  CHECK(has(found, "next_token needs causal mixers; `bidirectional` lets a token see those after it"));
}

#include "model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "config/yaml.h"
#include "model/layer_reader.h"

namespace effllm {

void InitOptions::visit(OptionVisitor& v) {
  v("std", std, "Sets the standard deviation of all hidden weights, in place of each mechanism's own initialisation.",
    between(0, 10));
  v("scale_residual", scale_residual, "With std: starts weights into the residual stream smaller by sqrt(2 layers).");
}

void ModelOptions::visit(OptionVisitor& v) {
  v("d_model", d_model, "Sets the width of the residual stream.", between(1, 65536));
  v("positions", positions, "Adds learned positions to the embedding, or none (the mixers know order).",
    {"none", "learned"});
  v("tie_embeddings", tie_embeddings, "Lets the output head share the weights of the embedding.");
  v("dropout", dropout,
    "Sets the dropout of the embedding and of what each mixer and channel mixer adds to the stream.", between(0, 0.99));
  v("max_tokens", max_tokens,
    "Sets the longest sequence that learned positions cover, in tokens; default: train.context.",
    between(1, kMostTokens));
  v("final_norm", final_norm, "Describes the norm before the head; default: that of the layers.");
  v("init", init, "Says how all hidden weights start: {std: 0.02} is GPT-2's.");
  v("block", block, "Holds the defaults of every layer: type, norm, mixer, cross, ffn.");
  v("layers", layers,
    "Lists the layers in order: {mixer, cross, ffn, norm, id}, {type: layer_drop, ...}, {repeat, of}, or {use: id}.");
  v("encoder", encoder,
    "Describes layers that read a text from both sides for those of `layers` that have `cross`; default: there are "
    "none.");
}

void EncoderOptions::visit(OptionVisitor& v) {
  v("positions", positions,
    "Adds learned positions of its own to the encoder's embedding, which is the model's, or none; `model`: as there.",
    {"model", "none", "learned"});
  v("final_norm", final_norm, "Describes the norm of what the encoder gives; default: that of its layers.");
  v("block", block, "Holds the defaults of every layer of the encoder; default: model.block without cross.");
  v("layers", layers, "Lists the encoder's layers in order, as model.layers does.");
}

namespace {

void read_norm(const ConfigNode& node, NormOptions& norm, Diagnostics& found) {
  if (!node.is_null()) read(norm, as_map(node), "norm", found);
}

EncoderConfig read_encoder(const ConfigNode& node, const ModelOptions& model, Diagnostics& found) {
  EncoderOptions o;
  read(o, as_map(node), "encoder", found);
  EncoderConfig c{.mark = node.mark(),
                  .learned_positions = (o.positions == "model" ? model.positions : o.positions) == "learned",
                  .final_norm = {},
                  .layers = {}};
  ConfigNode block = o.block.is_null() ? model.block : o.block;
  if (o.block.is_null() && block.is_map()) block.erase("cross");
  Diagnostics told;
  const BlockDefaults defaults(block, o.block.is_null() ? told : found);
  if (defaults.has("norm")) read_norm(*block.find("norm"), c.final_norm, told);
  read_norm(o.final_norm, c.final_norm, found);
  LayerReader reader(defaults, found);
  reader.read_list(o.layers, 0);
  c.layers = std::move(reader.layers);
  if (c.layers.empty() && found.empty()) found.error(node.mark(), "the encoder has no `layers`");
  for (const LayerSpec& l : c.layers)
    if (!l.same_as && reads_memory(l.block))
      found.error(l.block.mark(),
                  "a layer of the encoder has nothing to read with `cross`: only those of model.layers do");
  return c;
}

ConfigNode write_layers(const std::vector<LayerSpec>& layers) {
  ConfigNode all = ConfigNode::list();
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerSpec& l = layers[i];
    ConfigNode layer = ConfigNode::map();
    if (l.same_as) {
      layer.set("use", fmt::format("layer_{}", *l.same_as));
    } else {
      if (l.block.name() != kDefaultBlock) layer.set("type", l.block.name());
      const ConfigNode options = write(l.block.options());
      for (const auto& e : options.entries()) layer.set(e.key, e.value);
      layer.set("id", fmt::format("layer_{}", i));
    }
    all.items().push_back(std::move(layer));
  }
  return all;
}

}  // namespace

std::vector<ConfigSection> model_sections() {
  std::vector<ConfigSection> all;
  all.push_back(section<ModelOptions>("model", "The model."));
  all.push_back(section<BlockOptions>("model.block", "Defaults of every layer."));
  all.push_back(section<LayerOptions>(
      "model.layers[]", "A layer, one that is used again (`use`), or several that are repeated (`repeat`, `of`)."));
  all.push_back(section<EncoderOptions>(
      "model.encoder", "Layers that see both sides of each token; its block and layers[] are like the model's."));
  all.push_back(section<NormOptions>("norm", "In model.final_norm, model.block and model.layers[]."));
  all.push_back(section<InitOptions>("model.init", "Initial values of all hidden weights."));
  return all;
}

ModelConfig read_model_config(const ConfigNode& node, int64_t context) {
  Diagnostics found;
  ModelOptions o;
  read(o, node, "model", found);
  ModelConfig c{.d_model = o.d_model,
                .max_tokens = o.max_tokens.value_or(context),
                .learned_positions = o.positions == "learned",
                .tie_embeddings = o.tie_embeddings,
                .dropout = o.dropout,
                .final_norm = {},
                .init = {},
                .layers = {}};
  if (!o.init.is_null()) read(c.init, o.init, "init", found);
  const BlockDefaults defaults(o.block, found);
  Diagnostics told;
  if (defaults.has("norm")) read_norm(*o.block.find("norm"), c.final_norm, told);
  read_norm(o.final_norm, c.final_norm, found);
  LayerReader reader(defaults, found);
  reader.read_list(o.layers, 0);
  c.layers = std::move(reader.layers);
  if (c.layers.empty() && found.empty()) found.error(node.mark(), "the model has no `layers`");
  if (!o.encoder.is_null()) c.encoder = read_encoder(o.encoder, o, found);
  if (found.empty()) require_encoder_read(c, found);
  if (c.learned_positions && !c.encoder && c.max_tokens < context)
    found.error(node.mark(),
                fmt::format("model.max_tokens is {}, but train.context {} is longer", c.max_tokens, context));
  found.throw_if_any();
  return c;
}

int64_t prefix_tokens(double share, int64_t tokens) {
  return std::clamp<int64_t>(std::llround(share * static_cast<double>(tokens)), 1, tokens);
}

ConfigNode write_model_config(const ModelConfig& c) {
  ConfigNode out = ConfigNode::map();
  out.set("d_model", fmt::format("{}", c.d_model));
  out.set("positions", c.learned_positions ? "learned" : "none");
  out.set("tie_embeddings", c.tie_embeddings ? "true" : "false");
  out.set("dropout", yaml_float(c.dropout));
  out.set("max_tokens", fmt::format("{}", c.max_tokens));
  out.set("final_norm", write(c.final_norm));
  out.set("init", write(c.init));
  out.set("layers", write_layers(c.layers));
  if (c.encoder) {
    ConfigNode encoder = ConfigNode::map();
    encoder.set("positions", c.encoder->learned_positions ? "learned" : "none");
    encoder.set("final_norm", write(c.encoder->final_norm));
    encoder.set("layers", write_layers(c.encoder->layers));
    out.set("encoder", std::move(encoder));
  }
  return out;
}

}  // namespace effllm

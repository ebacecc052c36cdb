#include "model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <unordered_map>

#include "config/yaml.h"
#include "mixers/mixer.h"

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

// A block as it is written: its type, and the options of that.
struct BlockOptions : Options {
  std::string type{kDefaultBlock};
  std::unique_ptr<Options> block = all_blocks.find(kDefaultBlock).options();
  void visit(OptionVisitor& v) override {
    v("type", type, "Names the block; those of other types than residual have options of their own.");
    block->visit(v);
  }
};

struct LayerOptions final : BlockOptions {
  ConfigNode of;
  std::string id, use;
  std::optional<int64_t> repeat;
  void visit(OptionVisitor& v) override {
    BlockOptions::visit(v);
    v("id", id, "Names the layer, for `use`.");
    v("use", use, "Names an earlier layer by its id; this one shares its weights.");
    v("repeat", repeat, "Says how many times the layers of `of` stand here.", between(1, 10000));
    v("of", of, "Lists the layers that `repeat` repeats.");
  }
};

void read_norm(const ConfigNode& node, NormOptions& norm, Diagnostics& found) {
  if (!node.is_null()) read(norm, as_map(node), "norm", found);
}

// Reads `node` over the options of `block`, of the type that it has already, and what else `o` has.
void read_over(Choice<LayerInfo>& block, const ConfigNode& node, BlockOptions& o, std::string_view owner,
               Diagnostics& found) {
  o.block = block.copied_options();
  read(o, node, owner, found);
  o.block->mark = node.mark();
  o.block->given.insert(o.block->given.end(), o.given.begin(), o.given.end());
  block.set_options(std::move(o.block));
}

// What `block:` says of the layers.
class BlockDefaults {
 public:
  BlockDefaults(const ConfigNode& node, Diagnostics& found) : node_(node) {
    if (node.is_null()) return;
    BlockOptions o;
    if (choose(block_, node, found)) read_over(block_, node, o, "block", found);
  }
  bool has(std::string_view key) const { return node_.is_map() && node_.find(key); }
  // That of a layer at `node`, before its own options are read; nothing, with an error, where there is none such.
  std::optional<Choice<LayerInfo>> at(const ConfigNode& node, Diagnostics& found) const {
    Choice<LayerInfo> block = block_;
    if (!choose(block, node, found)) return {};
    if (block.name() == block_.name() || !node_.is_map()) return block;
    Diagnostics known;  // all but what the other type has no option for
    BlockOptions o;
    read_over(block, node_, o, "block", known);
    return block;
  }

 private:
  // Takes the type that the node names, with its defaults, if it isn't the same; false with an error.
  static bool choose(Choice<LayerInfo>& block, const ConfigNode& node, Diagnostics& found) {
    const ConfigNode* type = node.is_map() ? node.find("type") : nullptr;
    if (!type || !type->is_scalar() || type->text() == block.name()) return true;
    std::unique_ptr<Options> options = block.named(*type, found);
    if (!options) return false;
    block.set_options(std::move(options));
    return true;
  }

  ConfigNode node_;
  Choice<LayerInfo> block_{all_blocks, kDefaultBlock};
};

class LayerReader {
 public:
  LayerReader(const BlockDefaults& defaults, Diagnostics& found) : defaults_(defaults), found_(found) {}

  void read_list(const std::vector<ConfigNode>& nodes, int depth) {
    for (const ConfigNode& n : nodes) read_one(n, depth);
  }
  std::vector<LayerSpec> layers;

 private:
  void read_one(const ConfigNode& node, int depth) {
    if (!node.is_map()) {
      found_.error(node.mark(), "a layer is a map: {mixer: {...}, ffn: {...}}, {repeat: 3, of: [...]} or {use: id}");
      return;
    }
    std::optional<Choice<LayerInfo>> block = defaults_.at(node, found_);
    if (!block) return;
    LayerOptions o;
    read_over(*block, node, o, "layer", found_);
    if (depth > 16) {
      found_.error(node.mark(), "the layers nest deeper than 16");
      return;
    }
    if (o.repeat || !o.of.is_null()) {
      if (!o.repeat || !o.of.is_list())
        found_.error(node.mark(), "`repeat` takes a count, and `of` a list of layers");
      else if (alone(node, o, {"repeat", "of"}, "`repeat` and `of`"))
        repeat(*o.repeat, o.of, depth);
      return;
    }
    if (node.find("use")) {
      if (!alone(node, o, {"use"}, "`use`, which takes over a whole layer")) return;
      if (const auto known = ids_.find(o.use); known != ids_.end()) {
        if (known->second == kBroken) return;
        LayerSpec copy = layers[known->second];
        copy.same_as = known->second;
        copy.id.clear();
        layers.push_back(std::move(copy));
        return;
      }
      found_.error(node.mark(), fmt::format("no earlier layer has the id `{}`", o.use));
      return;
    }
    LayerSpec spec{.block = std::move(*block), .id = o.id, .same_as = {}};
    if (!spec.id.empty() && ids_.contains(spec.id))
      found_.error(node.mark(), fmt::format("the id `{}` is taken by an earlier layer", spec.id));
    bool whole = true;
    for (const auto& [field, part] : nested_choices(spec.block.options()))
      if (!*part && !part->may_be_none() && !node.find(field) && !defaults_.has(field)) {
        found_.error(node.mark(), fmt::format("this layer has no `{}`", field));
        whole = false;
      }
    if (!spec.id.empty()) ids_.emplace(spec.id, whole ? layers.size() : kBroken);
    if (whole) layers.push_back(std::move(spec));
  }

  // False, with an error at each, where the layer has other options than these: beside `what` they would do nothing.
  bool alone(const ConfigNode& node, const Options& o, std::initializer_list<std::string_view> keys,
             std::string_view what) {
    bool alone = true;
    for (const auto& e : node.entries()) {
      if (std::ranges::find(keys, e.key) != keys.end() || std::ranges::find(o.given, e.key) == o.given.end()) continue;
      found_.error(e.key_mark, fmt::format("`{}` does nothing beside {}", e.key, what));
      alone = false;
    }
    return alone;
  }

  // Reads the layers once, so that their errors are reported once, and copies them.
  void repeat(int64_t count, const ConfigNode& of, int depth) {
    const size_t first = layers.size();
    read_list(of.items(), depth + 1);
    const size_t each = layers.size() - first;
    if (first + each * static_cast<size_t>(count) > kMostLayers) {
      found_.error(of.mark(), "the layers expand to more than 10,000");
      return;
    }
    for (size_t i = first; i < first + each && count > 1; ++i)
      if (!layers[i].id.empty())
        found_.error(of.mark(), fmt::format("the id `{}` would be that of several layers: give ids outside `repeat`",
                                            layers[i].id));
    for (size_t i = 0; i < each * static_cast<size_t>(count - 1); ++i) {
      LayerSpec copy = layers[first + i % each];
      layers.push_back(std::move(copy));
    }
  }

  static constexpr size_t kMostLayers = 10000, kBroken = kMostLayers + 1;
  const BlockDefaults& defaults_;
  Diagnostics& found_;
  std::unordered_map<std::string, size_t> ids_;  // the layer that has each
};

bool reads_memory(const Choice<LayerInfo>& block) {
  bool reads = false;
  for_all_inside(block, [&](const Choice<LayerInfo>& part) { reads = reads || part.info().reads_memory; });
  return reads;
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

// `cross` and `encoder` belong together.
void require_encoder_read(const ModelConfig& c, Diagnostics& found) {
  bool any = false;
  for (const LayerSpec& l : c.layers) {
    if (!reads_memory(l.block)) continue;
    any = true;
    if (!c.encoder && !l.same_as)
      found.error(l.block.mark(), "this layer has `cross`, but the model has no `encoder` that it could read");
  }
  if (c.encoder && !any && !c.layers.empty())
    found.error(
        c.encoder->mark,
        fmt::format(
            "no layer reads the encoder: give one of model.layers{} a `cross`, or leave `encoder` out",
            c.layers.front().block.mark().line ? fmt::format(" (line {})", c.layers.front().block.mark().line) : ""));
}

// An error at each mixer of a block, and of blocks inside it, that sees earlier tokens alone.
void require_both_sides(const Choice<LayerInfo>& layer, std::string_view who, Diagnostics& found) {
  if (!is_mixer(layer)) {
    for (const auto& part : parts(layer)) require_both_sides(*part.choice, who, found);
  } else if (!sees_both_sides(layer)) {
    found.error(layer.mark(), fmt::format("{0} needs mixers that see both sides of a token; `{1}` sees those before it "
                                          "alone: write {{type: bidirectional, of: {1}}}",
                                          who, layer.name()));
  }
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
  if ((c.learned_positions || (c.encoder && c.encoder->learned_positions)) && c.max_tokens < context)
    found.error(node.mark(),
                fmt::format("model.max_tokens is {}, but train.context {} is longer", c.max_tokens, context));
  found.throw_if_any();
  return c;
}

int64_t prefix_tokens(double share, int64_t tokens) {
  return std::clamp<int64_t>(std::llround(share * static_cast<double>(tokens)), 1, tokens);
}

void require_direction(const ModelConfig& c, std::string_view objective, Diagnostics& found) {
  if (c.parts && !c.encoder && !c.layers.empty())
    found.error(c.layers.front().block.mark(),
                fmt::format("the objective {} needs an encoder: add model.encoder, and `cross` to layers such as this",
                            objective));
  if (!c.parts && c.encoder)
    found.error(c.encoder->mark, fmt::format("the objective {} has no text for an encoder: leave `encoder` and `cross` "
                                             "out, or choose an objective that has",
                                             objective));
  for (size_t i = 0; c.encoder && i < c.encoder->layers.size(); ++i)
    if (const LayerSpec& l = c.encoder->layers[i]; !l.same_as) require_both_sides(l.block, "an encoder", found);
  for (const LayerSpec& l : c.layers) {
    if (l.same_as) continue;
    if (!c.causal) {
      require_both_sides(l.block, fmt::format("the objective {}", objective), found);
      continue;
    }
    for_all_inside(l.block, [&](const Choice<LayerInfo>& m) {
      if (!m.info().causal_form)
        found.error(m.mark(), fmt::format("the objective {} needs causal mixers; `{}` lets a token see those after it",
                                          objective, m.name()));
      else if (!c.carries() && !m.info().prefix_and_blocks)
        found.error(m.mark(), fmt::format("the objective {} needs mechanisms that let {}, or take each token by "
                                          "itself; `{}` does neither",
                                          objective,
                                          c.block ? "the tokens of a block see each other"
                                                  : "the tokens of a prefix see each other",
                                          m.name()));
    });
  }
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

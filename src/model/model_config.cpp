#include "model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <unordered_map>

#include "config/yaml.h"

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
  v("block", block, "Holds the defaults of every layer: norm, mixer, ffn.");
  v("layers", layers, "Lists the layers in order: {mixer, ffn, norm, id}, {repeat, of}, or {use: id}.");
}

namespace {

struct LayerOptions final : Options {
  ConfigNode mixer, ffn, norm, of;
  std::string id, use;
  std::optional<int64_t> repeat;
  void visit(OptionVisitor& v) override {
    v("mixer", mixer, "Chooses the sequence mixer.");
    v("ffn", ffn, "Chooses the channel mixer; `none` leaves it out.");
    v("norm", norm, "Describes the norm before each of them.");
    v("id", id, "Names the layer, for `use`.");
    v("use", use, "Names an earlier layer by its id; this one shares its weights.");
    v("repeat", repeat, "Says how many times the layers of `of` stand here.", between(1, 10000));
    v("of", of, "Lists the layers that `repeat` repeats.");
  }
};

void read_norm(const ConfigNode& node, NormOptions& norm, Diagnostics& found) {
  if (!node.is_null()) read(norm, as_map(node), "norm", found);
}

// `none` leaves it out.
void read_ffn(const ConfigNode& node, Choice<LayerInfo>& ffn, Diagnostics& found) {
  if (node.is_null()) return;
  const ConfigNode map = as_map(node);
  if (const ConfigNode* t = map.is_map() ? map.find("type") : nullptr; t && t->text() == "none")
    ffn = Choice<LayerInfo>(all_ffns);
  else
    ffn.read(map, found);
}

class LayerReader {
 public:
  // `mixer`: the defaults were to have one, which may have been in error.
  LayerReader(const LayerSpec& defaults, bool mixer, Diagnostics& found)
      : defaults_(defaults), default_mixer_(mixer), found_(found) {}

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
    LayerOptions o;
    read(o, node, "layer", found_);
    if (depth > 16) {
      found_.error(node.mark(), "the layers nest deeper than 16");
      return;
    }
    if (o.repeat || !o.of.is_null()) {
      if (!o.repeat || !o.of.is_list())
        found_.error(node.mark(), "`repeat` takes a count, and `of` a list of layers");
      else if (none_of(node, {"mixer", "ffn", "norm", "id", "use"}, "`repeat` and `of`"))
        repeat(*o.repeat, o.of, depth);
      return;
    }
    if (node.find("use")) {
      if (!none_of(node, {"mixer", "ffn", "norm", "id"}, "`use`, which takes over a whole layer")) return;
      if (const auto known = ids_.find(o.use); known != ids_.end()) {
        LayerSpec copy = layers[known->second];
        copy.same_as = known->second;
        copy.id.clear();
        layers.push_back(std::move(copy));
        return;
      }
      found_.error(node.mark(), fmt::format("no earlier layer has the id `{}`", o.use));
      return;
    }
    LayerSpec spec = defaults_;
    if (!o.mixer.is_null()) spec.mixer.read(o.mixer, found_);
    read_ffn(o.ffn, spec.ffn, found_);
    read_norm(o.norm, spec.norm, found_);
    spec.id = o.id;
    if (!spec.id.empty() && ids_.contains(spec.id))
      found_.error(node.mark(), fmt::format("the id `{}` is taken by an earlier layer", spec.id));
    if (o.mixer.is_null() && !default_mixer_) {
      found_.error(node.mark(), "this layer has no `mixer`");
      return;
    }
    if (!spec.id.empty()) ids_.emplace(spec.id, layers.size());
    layers.push_back(std::move(spec));
  }

  // False, with an error at each, where the layer has one of these keys: beside `what` they would do nothing.
  bool none_of(const ConfigNode& node, std::initializer_list<std::string_view> keys, std::string_view what) {
    bool none = true;
    for (const auto& e : node.entries()) {
      if (std::ranges::find(keys, e.key) == keys.end()) continue;
      found_.error(e.key_mark, fmt::format("`{}` does nothing beside {}", e.key, what));
      none = false;
    }
    return none;
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

  static constexpr size_t kMostLayers = 10000;
  const LayerSpec& defaults_;
  const bool default_mixer_;
  Diagnostics& found_;
  std::unordered_map<std::string, size_t> ids_;  // the layer that has each
};

struct BlockOptions final : Options {
  ConfigNode norm, ffn, mixer;
  void visit(OptionVisitor& v) override {
    v("norm", norm, "Describes the norm before each mixer and channel mixer.");
    v("mixer", mixer, "Chooses the mixer of layers that name none.");
    v("ffn", ffn, "Chooses the channel mixer of layers that name none.");
  }
};

}  // namespace

std::vector<ConfigSection> model_sections() {
  std::vector<ConfigSection> all;
  all.push_back(section<ModelOptions>("model", "The model."));
  all.push_back(section<BlockOptions>("model.block", "Defaults of every layer."));
  all.push_back(section<LayerOptions>(
      "model.layers[]", "A layer, one that is used again (`use`), or several that are repeated (`repeat`, `of`)."));
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
  LayerSpec defaults;
  bool default_mixer = false;
  if (!o.block.is_null()) {
    BlockOptions b;
    read(b, o.block, "block", found);
    read_norm(b.norm, defaults.norm, found);
    read_ffn(b.ffn, defaults.ffn, found);
    default_mixer = !b.mixer.is_null();
    if (default_mixer) defaults.mixer.read(b.mixer, found);
  }
  c.final_norm = defaults.norm;
  read_norm(o.final_norm, c.final_norm, found);
  LayerReader reader(defaults, default_mixer, found);
  reader.read_list(o.layers, 0);
  c.layers = std::move(reader.layers);
  if (c.layers.empty() && found.empty()) found.error(node.mark(), "the model has no `layers`");
  if (c.learned_positions && c.max_tokens < context)
    found.error(node.mark(),
                fmt::format("model.max_tokens is {}, but train.context {} is longer", c.max_tokens, context));
  found.throw_if_any();
  return c;
}

void require_causal(const ModelConfig& c, std::string_view objective, Diagnostics& found) {
  for (const LayerSpec& l : c.layers)
    if (!l.same_as && !has_causal_form(l.mixer))
      found.error(l.mixer.mark(),
                  fmt::format("the objective {} needs causal mixers; `{}` lets a token see those after it", objective,
                              l.mixer.name()));
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
  ConfigNode layers = ConfigNode::list();
  for (size_t i = 0; i < c.layers.size(); ++i) {
    const LayerSpec& l = c.layers[i];
    ConfigNode layer = ConfigNode::map();
    if (l.same_as) {
      layer.set("use", fmt::format("layer_{}", *l.same_as));
    } else {
      layer.set("mixer", l.mixer.write());
      layer.set("ffn", l.ffn ? l.ffn.write() : ConfigNode::scalar("none"));
      layer.set("norm", write(l.norm));
      layer.set("id", fmt::format("layer_{}", i));
    }
    layers.items().push_back(std::move(layer));
  }
  out.set("layers", std::move(layers));
  return out;
}

}  // namespace effllm

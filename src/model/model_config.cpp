#include "model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <unordered_map>

#include "config/yaml.h"
#include "ffn/ffn.h"
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
  if (node.is_null()) return;
  norm.mark = node.mark();
  read(norm, as_map(node), "norm", found);
}

template <class Find>
void check_part(const ConfigNode& given, std::string_view what, Find find, Diagnostics& found) {
  const ConfigNode node = as_map(given);
  if (!node.is_map()) {
    found.error(node.mark(), fmt::format("a {} is a map with a `type`, such as {{type: ...}}", what));
    return;
  }
  const ConfigNode* type = node.find("type");
  if (!type || !type->is_scalar()) {
    found.error(node.mark(), fmt::format("this {} has no `type`; `effllm list {}s` shows them all", what, what));
    return;
  }
  try {
    const MixerInfo& info = find(type->text(), type->mark());
    const auto options = info.options();
    read(*options, node, fmt::format("{} `{}`", what, info.name), found);
    for (const ConfigNode* inner : options->nested()) check_part(*inner, what, find, found);
  } catch (const ConfigError& e) {
    found.error(type->mark(), fmt::format("no {} is called `{}`{}", what, type->text(), [&] {
                  const std::string_view m = e.what();
                  const auto at = m.find(" Did you mean");
                  return at == m.npos ? std::string() : "." + std::string(m.substr(at, m.find('?', at) - at + 1));
                }()));
  }
}

class LayerReader {
 public:
  LayerReader(const LayerSpec& defaults, Diagnostics& found) : defaults_(defaults), found_(found) {}

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
    if (!o.mixer.is_null()) spec.mixer = as_map(o.mixer);
    if (!o.ffn.is_null()) spec.ffn = as_map(o.ffn);
    read_norm(o.norm, spec.norm, found_);
    spec.id = o.id;
    if (!spec.id.empty() && ids_.contains(spec.id))
      found_.error(node.mark(), fmt::format("the id `{}` is taken by an earlier layer", spec.id));
    if (spec.mixer.is_null()) {
      found_.error(node.mark(), "this layer has no `mixer`");
      return;
    }
    if (const ConfigNode* t = spec.ffn.is_map() ? spec.ffn.find("type") : nullptr; t && t->text() == "none")
      spec.ffn = {};
    check_part(
        spec.mixer, "mixer", [](std::string_view n, const Mark& m) -> const MixerInfo& { return find_mixer(n, m); },
        found_);
    if (!spec.ffn.is_null())
      check_part(
          spec.ffn, "ffn", [](std::string_view n, const Mark& m) -> const MixerInfo& { return find_ffn(n, m); },
          found_);
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

// The options of a part in full, so that the resolved file shows every default.
template <class Find>
ConfigNode resolved_part(const ConfigNode& given, Find find) {
  const ConfigNode node = as_map(given);
  const MixerInfo& info = find(node.type());
  const auto options = info.options();
  read(*options, node, info.name);
  for (ConfigNode* inner : options->nested()) *inner = resolved_part(*inner, find);
  ConfigNode out = ConfigNode::map();
  out.set("type", info.name);
  const ConfigNode written = write(*options);
  for (const auto& e : written.entries()) out.set(e.key, e.value);
  return out;
}

ConfigNode write_norm(NormOptions n) { return write(n); }

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
  if (!o.block.is_null()) {
    BlockOptions b;
    read(b, o.block, "block", found);
    read_norm(b.norm, defaults.norm, found);
    if (!b.ffn.is_null()) defaults.ffn = as_map(b.ffn);
    if (!b.mixer.is_null()) defaults.mixer = as_map(b.mixer);
  }
  c.final_norm = defaults.norm;
  read_norm(o.final_norm, c.final_norm, found);
  LayerReader reader(defaults, found);
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
                              l.mixer.type()));
}

ConfigNode write_model_config(const ModelConfig& c) {
  ConfigNode out = ConfigNode::map();
  out.set("d_model", fmt::format("{}", c.d_model));
  out.set("positions", c.learned_positions ? "learned" : "none");
  out.set("tie_embeddings", c.tie_embeddings ? "true" : "false");
  out.set("dropout", yaml_float(c.dropout));
  out.set("max_tokens", fmt::format("{}", c.max_tokens));
  out.set("final_norm", write_norm(c.final_norm));
  InitOptions init = c.init;
  out.set("init", write(init));
  ConfigNode layers = ConfigNode::list();
  for (size_t i = 0; i < c.layers.size(); ++i) {
    const LayerSpec& l = c.layers[i];
    ConfigNode layer = ConfigNode::map();
    if (l.same_as) {
      layer.set("use", fmt::format("layer_{}", *l.same_as));
    } else {
      layer.set("mixer", resolved_part(l.mixer, [](std::string_view n) -> const MixerInfo& { return find_mixer(n); }));
      layer.set("ffn", l.ffn.is_null()
                           ? ConfigNode::scalar("none")
                           : resolved_part(l.ffn, [](std::string_view n) -> const FfnInfo& { return find_ffn(n); }));
      layer.set("norm", write_norm(l.norm));
      layer.set("id", fmt::format("layer_{}", i));
    }
    layers.items().push_back(std::move(layer));
  }
  out.set("layers", std::move(layers));
  return out;
}

}  // namespace effllm

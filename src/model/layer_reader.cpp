#include "model/layer_reader.h"

#include <fmt/format.h>

#include <algorithm>

namespace effllm {
namespace {

// Reads `node` over the options of `block`, of the type that it has already, and what else `o` has.
void read_over(Choice<LayerInfo>& block, const ConfigNode& node, BlockOptions& o, std::string_view owner,
               Diagnostics& found) {
  o.block = block.copied_options();
  read(o, node, owner, found);
  o.block->mark = node.mark();
  o.block->given.insert(o.block->given.end(), o.given.begin(), o.given.end());
  block.set_options(std::move(o.block));
}

// Takes the type that the node names, with its defaults, if it isn't the same; false with an error.
bool choose(Choice<LayerInfo>& block, const ConfigNode& node, Diagnostics& found) {
  const ConfigNode* type = node.is_map() ? node.find("type") : nullptr;
  if (!type || !type->is_scalar() || type->text() == block.name()) return true;
  std::unique_ptr<Options> options = block.named(*type, found);
  if (!options) return false;
  block.set_options(std::move(options));
  return true;
}

}  // namespace

void BlockOptions::visit(OptionVisitor& v) {
  v("type", type, "Names the block; those of other types than residual have options of their own.");
  block->visit(v);
}

void LayerOptions::visit(OptionVisitor& v) {
  BlockOptions::visit(v);
  v("id", id, "Names the layer, for `use`.");
  v("use", use, "Names an earlier layer by its id; this one shares its weights.");
  v("repeat", repeat, "Says how many times the layers of `of` stand here.", between(1, 10000));
  v("of", of, "Lists the layers that `repeat` repeats.");
}

BlockDefaults::BlockDefaults(const ConfigNode& node, Diagnostics& found) : node_(node) {
  if (node.is_null()) return;
  BlockOptions o;
  if (choose(block_, node, found)) read_over(block_, node, o, "block", found);
}

std::optional<Choice<LayerInfo>> BlockDefaults::at(const ConfigNode& node, Diagnostics& found) const {
  Choice<LayerInfo> block = block_;
  if (!choose(block, node, found)) return {};
  if (block.name() == block_.name() || !node_.is_map()) return block;
  Diagnostics known;  // all but what the other type has no option for
  BlockOptions o;
  read_over(block, node_, o, "block", known);
  return block;
}

void LayerReader::read_list(const std::vector<ConfigNode>& nodes, int depth) {
  for (const ConfigNode& n : nodes) read_one(n, depth);
}

void LayerReader::read_one(const ConfigNode& node, int depth) {
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
    if (alone(node, o, {"use"}, "`use`, which takes over a whole layer")) read_use(node, o.use);
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

void LayerReader::read_use(const ConfigNode& node, const std::string& id) {
  const auto known = ids_.find(id);
  if (known == ids_.end()) {
    found_.error(node.mark(), fmt::format("no earlier layer has the id `{}`", id));
    return;
  }
  if (known->second == kBroken) return;
  LayerSpec copy = layers[known->second];
  copy.same_as = known->second;
  copy.id.clear();
  layers.push_back(std::move(copy));
}

// False, with an error at each, where the layer has other options than these: beside `what` they would do nothing.
bool LayerReader::alone(const ConfigNode& node, const Options& o, std::initializer_list<std::string_view> keys,
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
void LayerReader::repeat(int64_t count, const ConfigNode& of, int depth) {
  const size_t first = layers.size();
  read_list(of.items(), depth + 1);
  const size_t each = layers.size() - first;
  if (first + each * static_cast<size_t>(count) > kMostLayers) {
    found_.error(of.mark(), "the layers expand to more than 10,000");
    return;
  }
  for (size_t i = first; i < first + each && count > 1; ++i)
    if (!layers[i].id.empty())
      found_.error(of.mark(),
                   fmt::format("the id `{}` would be that of several layers: give ids outside `repeat`", layers[i].id));
  for (size_t i = 0; i < each * static_cast<size_t>(count - 1); ++i) {
    LayerSpec copy = layers[first + i % each];
    layers.push_back(std::move(copy));
  }
}

}  // namespace effllm

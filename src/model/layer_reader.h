// The layers of a configuration: `block:` with its defaults, and lists of layers with `repeat`, `of` and `use`.
#pragma once
#include <initializer_list>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/model_config.h"

namespace effllm {

// A block as it is written: its type, and the options of that.
struct BlockOptions : Options {
  std::string type{kDefaultBlock};
  std::unique_ptr<Options> block = all_blocks.find(kDefaultBlock).options();
  void visit(OptionVisitor& v) override;
};

struct LayerOptions final : BlockOptions {
  ConfigNode of;
  std::string id, use;
  std::optional<int64_t> repeat;
  void visit(OptionVisitor& v) override;
};

// What `block:` says of the layers.
class BlockDefaults {
 public:
  BlockDefaults(const ConfigNode& node, Diagnostics& found);
  bool has(std::string_view key) const { return node_.is_map() && node_.find(key); }
  // That of a layer at `node`, before its own options are read; nothing, with an error, where there is none such.
  std::optional<Choice<LayerInfo>> at(const ConfigNode& node, Diagnostics& found) const;

 private:
  ConfigNode node_;
  Choice<LayerInfo> block_{all_blocks, kDefaultBlock};
};

class LayerReader {
 public:
  LayerReader(const BlockDefaults& defaults, Diagnostics& found) : defaults_(defaults), found_(found) {}

  void read_list(const std::vector<ConfigNode>& nodes, int depth);
  std::vector<LayerSpec> layers;

 private:
  void read_one(const ConfigNode& node, int depth);
  void read_use(const ConfigNode& node, const std::string& id);
  void repeat(int64_t count, const ConfigNode& of, int depth);
  bool alone(const ConfigNode& node, const Options& o, std::initializer_list<std::string_view> keys,
             std::string_view what);

  static constexpr size_t kMostLayers = 10000, kBroken = kMostLayers + 1;
  const BlockDefaults& defaults_;
  Diagnostics& found_;
  std::unordered_map<std::string, size_t> ids_;  // the layer that has each
};

}  // namespace effllm

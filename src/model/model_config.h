// The `model:` part of a configuration: read, checked, and expanded to a flat list of layers.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "blocks/block.h"
#include "config/options.h"
#include "nn/norm.h"

namespace effllm {

struct InitOptions final : Options {
  std::optional<double> std;
  bool scale_residual = true;
  void visit(OptionVisitor& v) override;
};

struct ModelOptions final : Options {
  int64_t d_model = 128;
  std::string positions = "none";
  bool tie_embeddings = true;
  double dropout = 0;
  std::optional<int64_t> max_tokens;
  ConfigNode final_norm, init, block, encoder;
  std::vector<ConfigNode> layers;
  void visit(OptionVisitor& v) override;
};

struct EncoderOptions final : Options {
  std::string positions = "model";
  ConfigNode final_norm, block;
  std::vector<ConfigNode> layers;
  void visit(OptionVisitor& v) override;
};

// One layer after `repeat`, `use` and the defaults of `block` have been worked in.
struct LayerSpec {
  Choice<LayerInfo> block{all_blocks, kDefaultBlock};
  std::string id;
  std::optional<size_t> same_as;  // weights of that layer (`use: id`), a state of its own
};

// Layers that see both sides of every token of a text, beside those of the model, which read what comes out.
struct EncoderConfig {
  Mark mark;
  bool learned_positions = false;
  NormOptions final_norm;
  std::vector<LayerSpec> layers;
};

// How many tokens of a row the encoder and the decoder get; those of a model without encoder are the decoder's.
struct RowParts {
  int64_t encoder = 0, decoder = 0;
};

struct ModelConfig {
  int64_t d_model, max_tokens;
  bool learned_positions, tie_embeddings;
  double dropout;
  NormOptions final_norm;
  InitOptions init;
  std::vector<LayerSpec> layers;
  // What the objective wants of it, which stands in no file (objectives/objective.h): false where a token sees those
  // after it, and ids beyond the vocabulary, the first `extra_targets` of which are predicted too, where others have an
  // embedding alone.
  bool causal = true;
  int64_t extra_ids = 0, extra_targets = 0;
  bool prefix = false;                      // a prompt is read at once, and its tokens see each other
  std::optional<double> prefix_share = {};  // of a row in training; unset: as much as any other
  int64_t block = 0;                        // Pass::block of all calls
  std::optional<double> uniform = {};       // texts are written from random tokens, of this share
  // What becomes of a row of so many tokens, at most; unset: the objective has nothing for an encoder.
  std::function<RowParts(int64_t tokens)> parts = {};
  std::optional<EncoderConfig> encoder = {};
  RowParts parts_of(int64_t tokens) const { return parts ? parts(tokens) : RowParts{0, tokens}; }
  // True where a state may go on from any token, whatever was read before.
  bool carries() const { return causal && !prefix && block == 0; }
  // Heads that predict the tokens after the next, each with a block like the last layer's: side by side, or each after
  // the one before (DeepSeek-V3's modules).
  int64_t heads = 0;
  bool heads_in_a_row = false;
  double exits = 0;        // of layers before the last that a training step unembeds, in the mean
  int64_t most_exits = 0;  // of the step that has the most
  // Whether learned positions reach all of a row of so many tokens, and the longest that they do: each of its parts has
  // positions of its own. Known where the objective has told.
  bool fits(int64_t tokens) const;
  int64_t longest_row() const;  // without learned positions no limit
};

// Tokens of a prefix that is a share of a row of so many; at least one.
int64_t prefix_tokens(double share, int64_t tokens);

// Those of `model`, of its blocks and layers; the options of mechanisms are theirs.
std::vector<ConfigSection> model_sections();

// `node`: the value of `model`. `context`: tokens of a training sequence, the default of max_tokens. Every unknown
// mechanism, option, type and range in it is reported at once, with its place; which options fit each other and d_model
// is told, at once too, where the model is built. Whether learned positions reach the parts of a row that an encoder
// and a decoder have, `fits` says.
ModelConfig read_model_config(const ConfigNode& node, int64_t context);
// True of a block with a part that reads an encoder.
bool reads_memory(const Choice<LayerInfo>& block);
// `cross` and `encoder` belong together: an error where one is without the other.
void require_encoder_read(const ModelConfig& c, Diagnostics& found);
// An error at each layer whose mixer has no causal form, for objectives that need one, at each whose mixer sees earlier
// tokens alone, for those that need it to see both sides, as an encoder does, and at what follows no prefix or blocks,
// for theirs; and where the objective has something for an encoder and there is none, or the other way round.
void require_direction(const ModelConfig& c, std::string_view objective, Diagnostics& found);
// The expanded configuration as it stands in config.resolved.yaml: reading it again gives the same model.
ConfigNode write_model_config(const ModelConfig& c);

}  // namespace effllm

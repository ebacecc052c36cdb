// A language model: an embedding, a list of blocks, a head.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "model/model_config.h"
#include "ops/loss.h"

namespace effllm {

class LanguageModel {
 public:
  // Declares all parameters; materialize them (or as_meta) before the first call.
  LanguageModel(const ModelConfig& config, int64_t vocab);

  ParamStore& params() { return store_; }
  const ParamStore& params() const { return store_; }
  const ModelConfig& config() const { return config_; }
  int64_t vocab() const { return vocab_; }
  int64_t layers() const { return static_cast<int64_t>(blocks_.size()); }
  const Layer& block(int64_t i) const { return *blocks_[static_cast<size_t>(i)]; }

  // Ids [vocab, vocab + extra_ids) of ModelConfig are inputs that the head never predicts.
  int64_t ids() const { return vocab_ + config_.extra_ids; }

  // Where each layer is used: "layers.3.mixer", "layers.3.ffn", and the embedding.
  const Site& site() const { return *site_; }
  const Site& layer_site(int64_t i) const { return *layer_sites_[static_cast<size_t>(i)]; }

  // ids: i32 [B, T] -> [B, T, D].
  Tensor embed(const Tensor& ids, const Context& cx, State* state) const;
  // Blocks [from, to) over the residual stream x: [B, T, D]. What they share is on the context's shelf.
  Tensor run(Tensor x, int64_t from, int64_t to, const Context& cx, State* state) const;
  Tensor head(const Tensor& x) const;  // final norm and logits, [.., Q]
  // Final norm and the loss of `targets` under the logits, see `loss`; what `z_weight` adds, and `row_weights`, see
  // linear_cross_entropy.
  LossAndSquares head_loss(const Tensor& x, const Tensor& targets, double weight, double z_weight = 0,
                           const Tensor& row_weights = {}) const;
  // All of it but the head: [B, T, D]. Advances the state.
  Tensor body(const Tensor& ids, const Context& cx, State* state) const;
  // All of it; advances the state.
  Tensor logits(const Tensor& ids, const Context& cx, State* state = nullptr) const;
  // Sum of -log p(target) times `weight` over targets that count, [1] f64; advances the state.
  Tensor loss(const Tensor& ids, const Tensor& targets, double weight, const Context& cx, State* state = nullptr) const;
  // What `batch` sequences remember, with room for `capacity` tokens: zeros, or as `make` says.
  State make_state(int64_t batch, int64_t capacity, const State::Make& make = Tensor::zeros) const;
  int64_t sequences_together() const;         // the most that a block asks for
  LongText long_text(int64_t trained) const;  // of all blocks together, and learned positions
  bool trains_otherwise() const;              // one of the blocks does
  // Longest sequence that the model can follow: max_tokens with learned positions, otherwise no limit.
  int64_t longest() const;

 private:
  Context given(Context cx, State* state) const;  // with what the configuration says of all calls

  ModelConfig config_;
  int64_t vocab_;
  ParamStore store_;
  Parameter* embedding_;
  Parameter *extra_ = nullptr, *positions_ = nullptr;
  std::vector<std::shared_ptr<const Layer>> blocks_;
  std::unique_ptr<Norm> final_norm_;
  Parameter* head_;
  std::shared_ptr<Site> site_ = std::make_shared<Site>();
  std::vector<const Site*> layer_sites_;
};

// Of which shapes alone are there: what it costs can be asked, and it can be materialized later.
std::unique_ptr<LanguageModel> model_on_shapes(const ModelConfig& config, int64_t vocab);

}  // namespace effllm

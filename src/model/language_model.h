// A language model: an embedding, a list of blocks, a head; perhaps an encoder beside it, whose memory the blocks read.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/further_head.h"
#include "model/layer_stack.h"
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
  int64_t layers() const { return stack_.size(); }
  const Layer& block(int64_t i) const { return *stack_.blocks[static_cast<size_t>(i)]; }

  // Ids [vocab, vocab + extra_ids) of ModelConfig are inputs; the head predicts those below outputs().
  int64_t ids() const { return vocab_ + config_.extra_ids; }
  int64_t outputs() const { return vocab_ + config_.extra_targets; }

  // Where each layer is used: "layers.3.mixer", "layers.3.ffn", and the embedding; "heads.2" of further heads.
  const Site& site() const { return *site_; }
  const Site& layer_site(int64_t i) const { return *stack_.sites[static_cast<size_t>(i)]; }
  // The same places without further heads: what is remembered where they are not run.
  const Site& decoding_site() const { return *decoding_site_; }

  bool has_encoder() const { return config_.encoder.has_value(); }
  int64_t encoder_layers() const { return encoder_.size(); }
  const Site& encoder_site() const { return encoder_site_; }  // "encoder.layers.3.mixer"
  const Site& encoder_layer_site(int64_t i) const { return *encoder_.sites[static_cast<size_t>(i)]; }
  // What the encoder makes of a text, ids i32 [B, S], in one call from nothing: for Context::memory. Of sequence b the
  // first lengths[b] ids are its text (i64 [B]; undefined: all), and the rest changes nothing.
  Memory encode(const Tensor& ids, const Context& cx, const Tensor& lengths = {}) const;
  // The parts of that: the embedding, layers [from, to) of the encoder, and the norm at its end.
  Tensor embed_encoder(const Tensor& ids, const Context& cx) const;
  Tensor run_encoder(Tensor x, int64_t from, int64_t to, const Context& cx) const;
  Tensor encoder_norm(const Tensor& x) const { return (*encoder_.final_norm)(x); }

  // ids: i32 [B, T] -> [B, T, D].
  Tensor embed(const Tensor& ids, const Context& cx, State* state) const;
  // Blocks [from, to) over the residual stream x: [B, T, D]. What they share is on the context's shelf, and the ids of
  // the tokens are the context's.
  Tensor run(Tensor x, int64_t from, int64_t to, const Context& cx, State* state) const;
  // Final norm and logits, [.., outputs()], of the next token or of one further on, whose stream x is (further_body).
  Tensor head(const Tensor& x, int64_t ahead = 1) const;
  // Final norm and the loss of `targets` under the logits, see `loss`; what `z_weight` adds, and `row_weights`, see
  // linear_cross_entropy.
  LossAndSquares head_loss(const Tensor& x, const Tensor& targets, double weight, double z_weight = 0,
                           const Tensor& row_weights = {}) const;
  // All of it but the head: [B, T, D]. Advances the state. `after` is told the stream after each layer, and how many
  // that were. Where there is an encoder, `cx.memory` is what it made; a state remembers what is read of it, so that
  // later calls of the state are given none.
  using AfterLayer = std::function<void(int64_t layers, const Tensor& x)>;
  Tensor body(const Tensor& ids, const Context& cx, State* state, const AfterLayer& after = {}) const;
  // From now on a run of the model ends after so many layers, 1 to all, and goes on with the final norm and the head.
  void exit_after(int64_t layers);

  // Heads for the tokens 2 .. further() + 1 places after each (ModelConfig::heads), by how far ahead that is.
  int64_t further() const { return static_cast<int64_t>(heads_.size()); }
  const Site& further_site(int64_t ahead) const { return *head_sites_[static_cast<size_t>(ahead - 2)]; }
  // The stream of such a head, [B, T, D]. Side by side: x is what the model's last layer reads. In a row: x is the
  // stream of the head before, at first the model's, and `tokens`, i32 [B, T], those ahead - 1 places after each.
  // Advances that head's part of the state; the context is one that `run` has had.
  Tensor further_body(int64_t ahead, const Tensor& x, const Tensor& tokens, const Context& cx, State* state) const;
  LossAndSquares further_loss(int64_t ahead, const Tensor& x, const Tensor& targets, double weight) const;
  // body(), and after it the stream of each such head; tokens(ahead) are those ahead - 1 places after each input.
  using TokensAhead = std::function<Tensor(int64_t ahead)>;
  std::vector<Tensor> bodies(const Tensor& ids, const TokensAhead& tokens, const Context& cx, State* state) const;

  // All of it; advances the state.
  Tensor logits(const Tensor& ids, const Context& cx, State* state = nullptr) const;
  // Sum of -log p(target) times `weight` over targets that count, [1] f64; advances the state.
  Tensor loss(const Tensor& ids, const Tensor& targets, double weight, const Context& cx, State* state = nullptr) const;
  // What `batch` sequences remember, with room for `capacity` tokens: zeros, or as `make` says. Further heads have a
  // part of what training carries on, and are run in no other state.
  State make_state(int64_t batch, int64_t capacity, const State::Make& make = Tensor::zeros) const;
  State training_state(int64_t batch, int64_t capacity, const State::Make& make = Tensor::zeros) const;
  int64_t sequences_together() const;  // the most that a block asks for
  // Of the blocks that a run has (exit_after), and the encoder's: all together, with learned positions; and whether one
  // of them does.
  LongText long_text(int64_t trained) const;
  bool trains_otherwise() const;
  // Longest sequence that the model can follow, and longest text that its encoder can: max_tokens with learned
  // positions, otherwise no limit.
  int64_t longest() const;
  int64_t longest_read() const;

 private:
  Tensor embedded(const Tensor& ids, const LayerStack& stack, const Call& call) const;
  template <class F>
  void each_block(F&& f) const;                   // of the model and its encoder that runs
  Context given(Context cx, State* state) const;  // with what the configuration says of all calls
  // The context of a run from the ids on: with their positions and a shelf, the memory remembered where there is a
  // state, which counts the tokens when they have been run.
  Context begun(const Tensor& ids, const Context& cx, State* state) const;
  void build_heads(const LayerPlaces& places, const Scope& scope);
  void place_heads(Diagnostics& found);
  const Norm& norm_of(int64_t ahead) const;  // that stands before the logits
  Context given_encoder(Context cx) const;

  ModelConfig config_;
  int64_t vocab_;
  ParamStore store_;
  Parameter* embedding_;
  Parameter* extra_ = nullptr;
  LayerStack stack_, encoder_;
  std::vector<FurtherHead> heads_;
  int64_t used_ = 0;  // of the layers by a run
  Parameter* head_;
  std::shared_ptr<Site> site_ = std::make_shared<Site>(), decoding_site_ = site_;
  std::vector<const Site*> head_sites_;
  Site encoder_site_;  // a tree of its own: nothing of it is remembered
};

// Of which shapes alone are there: what it costs can be asked, and it can be materialized later.
std::unique_ptr<LanguageModel> model_on_shapes(const ModelConfig& config, int64_t vocab);

}  // namespace effllm

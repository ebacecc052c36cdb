#include "model/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/text.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "ops/linear.h"

namespace effllm {

LanguageModel::LanguageModel(const ModelConfig& config, int64_t vocab) : config_(config), vocab_(vocab) {
  store_.policy.stddev = config.init.std;
  const Scope root(store_);
  embedding_ = &(root / "embedding")
                    .param("weight", {outputs(), config.d_model}, Init::normal(kEmbeddingStd),
                           {.role = Role::hidden, .dense = config.tie_embeddings});
  if (const int64_t more = config.extra_ids - config.extra_targets; more > 0)
    extra_ = &(root / "embedding")
                  .param("extra", {more, config.d_model}, Init::normal(kEmbeddingStd), {.role = Role::hidden});
  const auto scaled_for = [&](size_t layers) {
    if (config.init.scale_residual)
      store_.policy.residual_factor = 1 / std::sqrt(2 * static_cast<double>(std::max<size_t>(1, layers)));
  };
  site_->count_tokens();
  site_->child("embedding");
  Diagnostics found;
  const LayerPlaces places(config, config.layers, ids(), config.heads);
  scaled_for(config.layers.size());
  stack_ = build_stack(config, config.layers, places, config.final_norm, config.learned_positions, root, *site_, found);
  if (config.heads > 0 && stack_.blocks.back()) build_heads(places, root);  // what is wrong with the last is told once
  if (config.encoder) {
    const EncoderConfig& e = *config.encoder;
    Site& site = encoder_site_.child("encoder");
    site.child("embedding");
    scaled_for(e.layers.size());
    encoder_ = build_stack(config, e.layers, LayerPlaces(config, e.layers, ids()), e.final_norm, e.learned_positions,
                           root / "encoder", site, found);
  }
  head_ = config.tie_embeddings ? embedding_
                                : &(root / "head")
                                       .param("weight", {outputs(), config.d_model}, Init::normal(kEmbeddingStd),
                                              {.role = Role::hidden, .dense = true});
  found.throw_if_any();
  place_heads(found);
  found.throw_if_any();
  used_ = layers();
}

void LanguageModel::exit_after(int64_t layers) {
  require(layers >= 1 && layers <= this->layers(), "an exit after {} of {} layers", layers, this->layers());
  used_ = layers;
}

Context LanguageModel::given(Context cx, State* state) const {
  cx.state = state;
  if (!config_.causal) cx.direction = Direction::bidirectional;
  cx.block = config_.block;
  return cx;
}

Tensor LanguageModel::embedded(const Tensor& ids, const LayerStack& stack, const Call& call) const {
  Tensor x = embedding(ids, embedding_->value, extra_ ? extra_->value : Tensor());
  if (stack.positions) {
    const Tensor where = call.positions(ids);
    Tensor p = Tensor::dense(ids.shape(), DType::i32);
    if (!p.is_meta())
      for (int64_t i = 0; i < ids.numel(); ++i) {
        const int64_t at = where.data<int64_t>()[i];
        if (at >= config_.max_tokens)
          throw DataError("the model has learned positions for {} and can't follow a longer sequence",
                          counted(config_.max_tokens, "token"));
        p.data<int32_t>()[i] = static_cast<int32_t>(at);
      }
    x = add(x, embedding(p, stack.positions->value));
  }
  const Call here = call.child("embedding");
  x = here.tap("out", x);
  const double rate = here.left_out(config_.dropout);
  return rate > 0 ? dropout(x, rate, here.random("dropout"), call.tokens().samples) : x;
}

Tensor LanguageModel::embed(const Tensor& ids, const Context& context, State* state) const {
  const Context cx = given(context, state);
  return embedded(ids, stack_, Call(cx, *site_));
}

Tensor LanguageModel::run(Tensor x, int64_t from, int64_t to, const Context& cx, State* state) const {
  const Context pass = given(cx, state);
  for (int64_t i = from; i < to; ++i) x = run_block(block(i), x, Call(pass, layer_site(i)));
  return x;
}

Tensor LanguageModel::head(const Tensor& x, int64_t ahead) const {
  return linear(norm_of(ahead)(x), head_->value, {}, head_->transposed);
}

LossAndSquares LanguageModel::head_loss(const Tensor& x, const Tensor& targets, double weight, double z_weight,
                                        const Tensor& row_weights) const {
  return linear_cross_entropy((*stack_.final_norm)(x), head_->value, head_->transposed, targets, weight, z_weight,
                              row_weights);
}

Context LanguageModel::begun(const Tensor& ids, const Context& cx, State* state) const {
  Context with = given(cx, state);
  with.positions = Call(with, *site_).positions(ids);
  with.ids = ids;
  with.shelf = std::make_shared<Shelf>();
  require(!has_encoder() || state || cx.memory.rows.defined(),
          "the model reads an encoder's memory: encode() makes it");
  if (state && cx.memory.rows.defined())
    for (int64_t i = 0; i < used_; ++i) block(i).remember(cx.memory, Call(with, layer_site(i)));
  return with;
}

Tensor LanguageModel::body(const Tensor& ids, const Context& cx, State* state, const AfterLayer& after) const {
  const Context with = begun(ids, cx, state);
  Tensor x = embed(ids, with, state);
  if (!after) x = run(std::move(x), 0, used_, with, state);
  for (int64_t i = 0; after && i < used_; ++i) {
    x = run(std::move(x), i, i + 1, with, state);
    after(i + 1, x);
  }
  Call(with, *site_).advance(ids.dim(1));
  return x;
}

Tensor LanguageModel::logits(const Tensor& ids, const Context& cx, State* state) const {
  return head(body(ids, cx, state));
}

Tensor LanguageModel::loss(const Tensor& ids, const Tensor& targets, double weight, const Context& cx,
                           State* state) const {
  return head_loss(body(ids, cx, state), targets, weight).loss;
}

State LanguageModel::make_state(int64_t batch, int64_t capacity, const State::Make& make) const {
  return {decoding_site_, batch, capacity, store_.dtype(), make};
}

State LanguageModel::training_state(int64_t batch, int64_t capacity, const State::Make& make) const {
  return {site_, batch, capacity, store_.dtype(), make};
}

template <class F>
void LanguageModel::each_block(F&& f) const {
  for (int64_t i = 0; i < used_; ++i) f(block(i));
  for (const auto& b : encoder_.blocks) f(*b);
}

int64_t LanguageModel::sequences_together() const {
  int64_t n = 1;
  each_block([&](const Layer& b) { n = std::max(n, b.sequences_together()); });
  return n;
}

bool LanguageModel::trains_otherwise() const {
  bool any = false;
  each_block([&](const Layer& b) { any = any || b.trains_otherwise(); });
  return any;
}

LongText LanguageModel::long_text(int64_t trained) const {
  const bool learned = stack_.positions || encoder_.positions;
  LongText all{.unseen = learned, .anew = learned};
  each_block([&](const Layer& b) { all |= b.long_text(trained); });
  return all;
}

int64_t LanguageModel::longest() const {
  return stack_.positions ? config_.max_tokens : std::numeric_limits<int64_t>::max();
}

int64_t LanguageModel::longest_read() const {
  return encoder_.positions ? config_.max_tokens : std::numeric_limits<int64_t>::max();
}

std::unique_ptr<LanguageModel> model_on_shapes(const ModelConfig& config, int64_t vocab) {
  auto model = std::make_unique<LanguageModel>(config, vocab);
  model->params().as_meta(DType::f32);
  return model;
}

}  // namespace effllm

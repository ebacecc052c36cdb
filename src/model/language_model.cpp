#include "model/language_model.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "autodiff/checkpoint.h"
#include "base/text.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "ops/linear.h"

namespace effllm {
namespace {

constexpr double kEmbeddingStd = 0.02;  // GPT-2's, where neither the mechanism nor `init` says otherwise

// For each layer, how many with the same kind of mixer (the first part of its block) stand before it, and how many
// there are; a layer that uses another one's weights is no layer of its own.
struct PlaceAmongKind {
  int64_t index = 0, count = 0;
  bool used_again = false;
};
std::vector<PlaceAmongKind> places_among_kind(const std::vector<LayerSpec>& layers) {
  const auto kind = [](const LayerSpec& l) {
    const auto inside = parts(l.block);
    return inside.empty() ? l.block.name() : inside.front().choice->name();
  };
  std::vector<PlaceAmongKind> places(layers.size());
  std::map<std::string_view, int64_t> count;
  for (size_t i = 0; i < places.size(); ++i)
    if (!layers[i].same_as) places[i].index = count[kind(layers[i])]++;
  for (size_t i = 0; i < places.size(); ++i)
    if (const auto& used = layers[i].same_as)
      places[*used].used_again = true;
    else
      places[i].count = count[kind(layers[i])];
  return places;
}

LayerArgs args_of(const ModelConfig& config, int64_t ids, int64_t layers, size_t i, const PlaceAmongKind& place,
                  const std::map<std::string_view, int64_t>& uses) {
  return {.d_model = config.d_model,
          .layer = static_cast<int64_t>(i),
          .layers = layers,
          .max_tokens = config.max_tokens,
          .ids = ids,
          .index_of_kind = place.index,
          .layers_of_kind = place.count,
          .used_again = place.used_again,
          .block = config.block,
          .dropout = config.dropout,
          .uses = &uses};
}

// In how many layers each kind of part stands, anywhere inside.
std::map<std::string_view, int64_t> layers_by_part(const std::vector<LayerSpec>& layers) {
  std::map<std::string_view, int64_t> count;
  for (const LayerSpec& l : layers) {
    std::set<std::string_view> inside;
    for_all_inside(l.block, [&](const Choice<LayerInfo>& part) { inside.insert(part.name()); });
    for (const std::string_view name : inside) ++count[name];
  }
  return count;
}

// block(x), of which the tape keeps x alone, and what the block takes from the shelf and from an encoder. Backward runs
// it again from the state that it started from; what it adds up was counted the first time, and its auxiliary losses
// have their gradients from the second.
Tensor recomputed(const Layer& block, const Tensor& x, const Call& call) {
  const State* const state = call.pass().state;
  const bool reads = call.site().reads_memory() && call.tokens().memory.rows.defined();
  const auto run = [&block, reads, &site = call.site(), pass = call.pass(), given = call.tokens(), first = true,
                    before = state ? state->at(call.site()) : State()](const std::vector<Tensor>& in) mutable {
    Tokens tokens = given;
    tokens.shelf = std::make_shared<Shelf>();
    for (size_t i = 0; i < site.needed().size(); ++i) tokens.shelf->emplace(site.needed()[i].name, in[i + 1]);
    if (reads) tokens.memory.rows = in.back();
    Ledger unread = pass.ledger ? pass.ledger->empty() : Ledger();
    Pass again = pass;
    if (!std::exchange(first, false)) {
      if (pass.state) again.state = &before;
      if (pass.ledger) again.ledger = &unread;
    }
    std::vector<Tensor> out = {block.forward(in[0], Call(again, tokens, site))};
    for (const SharedValue& v : site.given()) {
      const auto at = tokens.shelf->find(v.name);
      require(at != tokens.shelf->end(), "`{}` says in declare() that it gives `{}`, and has not", site.path(), v.name);
      out.push_back(at->second);
    }
    return out;
  };
  std::vector<Tensor> in = {x};
  for (const SharedValue& v : call.site().needed()) in.push_back(call.take(v.name));
  if (reads) in.push_back(call.tokens().memory.rows);
  const std::vector<Tensor> out = checkpoint(run, in);
  for (size_t i = 1; i < out.size(); ++i) call.give(call.site().given()[i - 1].name, out[i]);
  return out[0];
}

}  // namespace

LanguageModel::LanguageModel(const ModelConfig& config, int64_t vocab) : config_(config), vocab_(vocab) {
  store_.policy.stddev = config.init.std;
  const Scope root(store_);
  embedding_ = &(root / "embedding")
                    .param("weight", {outputs(), config.d_model}, Init::normal(kEmbeddingStd),
                           {.role = Role::hidden, .dense = config.tie_embeddings});
  if (const int64_t more = config.extra_ids - config.extra_targets; more > 0)
    extra_ = &(root / "embedding")
                  .param("extra", {more, config.d_model}, Init::normal(kEmbeddingStd), {.role = Role::hidden});
  site_->count_tokens();
  site_->child("embedding");
  Diagnostics found;
  stack_ = built(config.layers, config.final_norm, config.learned_positions, root, *site_, found);
  const auto n = static_cast<int64_t>(config.layers.size());
  if (config.heads > 0 && stack_.blocks.back()) {  // what is wrong with the last layer is told once
    const auto last = config.layers.back().same_as.value_or(config.layers.size() - 1);
    const auto uses = layers_by_part(config.layers);
    LayerArgs args = args_of(config, ids(), n, last, places_among_kind(config.layers)[last], uses);
    args.used_again = false;
    for (int64_t i = 0; i < config.heads; ++i) heads_.emplace_back(config, args, root / fmt::format("heads.{}", i + 2));
  }
  if (config.encoder) {
    Site& site = encoder_site_.child("encoder");
    site.child("embedding");
    encoder_ = built(config.encoder->layers, config.encoder->final_norm, config.encoder->learned_positions,
                     root / "encoder", site, found);
  }
  head_ = config.tie_embeddings ? embedding_
                                : &(root / "head")
                                       .param("weight", {outputs(), config.d_model}, Init::normal(kEmbeddingStd),
                                              {.role = Role::hidden, .dense = true});
  found.throw_if_any();
  for (size_t i = 0; i < heads_.size(); ++i) {
    Site& place = site_->child(fmt::format("heads.{}", i + 2));
    place.begins();
    heads_[i].block().declare(place);
    head_sites_.push_back(&place);
  }
  used_ = n;
}

void LanguageModel::exit_after(int64_t layers) {
  require(layers >= 1 && layers <= this->layers(), "an exit after {} of {} layers", layers, this->layers());
  used_ = layers;
}

LanguageModel::Stack LanguageModel::built(const std::vector<LayerSpec>& layers, const NormOptions& norm,
                                          bool learned_positions, const Scope& scope, Site& site, Diagnostics& found) {
  Stack stack;
  const auto n = static_cast<int64_t>(layers.size());
  if (config_.init.scale_residual) store_.policy.residual_factor = 1 / std::sqrt(2 * static_cast<double>(n));
  if (learned_positions)
    stack.positions = &(scope / "positions")
                           .param("weight", {config_.max_tokens, config_.d_model}, Init::normal(kEmbeddingStd),
                                  {.role = Role::hidden});
  const auto places = places_among_kind(layers);
  const auto uses = layers_by_part(layers);
  for (int64_t i = 0; i < n; ++i) {
    const LayerSpec& spec = layers[static_cast<size_t>(i)];
    if (spec.same_as) {
      stack.blocks.push_back(stack.blocks[*spec.same_as]);
      continue;
    }
    const LayerArgs args = args_of(config_, ids(), n, static_cast<size_t>(i), places[static_cast<size_t>(i)], uses);
    stack.blocks.push_back(found.collect([&] { return spec.block.build(args, scope / fmt::format("layers.{}", i)); }));
  }
  stack.final_norm = found.collect([&] { return std::make_unique<Norm>(norm, scope / "final_norm", config_.d_model); });
  // Of layers after one that could not be built nothing is said: it may give what they need.
  for (size_t i = 0; i < stack.blocks.size() && stack.blocks[i]; ++i) try {
      stack.sites.push_back(&site.child(fmt::format("layers.{}", i), *stack.blocks[i]));
    } catch (const ConfigError& e) {  // of what layers share
      found.error(layers[i].block.mark(), e.what());
    }
  return stack;
}

Context LanguageModel::given(Context cx, State* state) const {
  cx.state = state;
  if (!config_.causal) cx.direction = Direction::bidirectional;
  cx.block = config_.block;
  return cx;
}

Context LanguageModel::given_encoder(Context cx) const {
  require(has_encoder(), "the model has no encoder");
  cx.state = nullptr;
  cx.direction = Direction::bidirectional;
  cx.reach = 0;
  cx.memory = {};
  return cx;
}

Tensor LanguageModel::embedded(const Tensor& ids, const Stack& stack, const Call& call) const {
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

Tensor LanguageModel::embed_encoder(const Tensor& ids, const Context& context) const {
  const Context cx = given_encoder(context);
  return embedded(ids, encoder_, Call(cx, encoder_site_["encoder"]));
}

Tensor LanguageModel::through(const Layer& block, const Tensor& x, const Call& call) const {
  return call.pass().recompute && Tape::recording() ? recomputed(block, x, call) : block.forward(x, call);
}

Tensor LanguageModel::run(Tensor x, int64_t from, int64_t to, const Context& cx, State* state) const {
  const Context pass = given(cx, state);
  for (int64_t i = from; i < to; ++i) x = through(block(i), x, Call(pass, layer_site(i)));
  return x;
}

Tensor LanguageModel::run_encoder(Tensor x, int64_t from, int64_t to, const Context& cx) const {
  const Context pass = given_encoder(cx);
  for (auto i = static_cast<size_t>(from); i < static_cast<size_t>(to); ++i)
    x = through(*encoder_.blocks[i], x, Call(pass, *encoder_.sites[i]));
  return x;
}

Memory LanguageModel::encode(const Tensor& ids, const Context& context, const Tensor& lengths) const {
  Context cx = given_encoder(context);
  // What is behind a text is a document of its own, which mechanisms keep apart.
  cx.segments = {};
  if (lengths.defined()) {
    cx.segments = Tensor::dense(ids.shape(), DType::i64);
    for (int64_t i = 0; !ids.is_meta() && i < ids.numel(); ++i)
      cx.segments.data<int64_t>()[i] = i % ids.dim(1) >= lengths.data<int64_t>()[i / ids.dim(1)];
  }
  cx.positions = Call(cx, encoder_site_["encoder"]).counted(ids);
  cx.ids = ids;
  cx.shelf = std::make_shared<Shelf>();
  const Tensor x = run_encoder(embed_encoder(ids, cx), 0, static_cast<int64_t>(encoder_.blocks.size()), cx);
  return {encoder_norm(x), lengths};
}

Tensor LanguageModel::head(const Tensor& x, int64_t ahead) const {
  return linear(norm_of(ahead)(x), head_->value, {}, head_->transposed);
}

LossAndSquares LanguageModel::head_loss(const Tensor& x, const Tensor& targets, double weight, double z_weight,
                                        const Tensor& row_weights) const {
  return linear_cross_entropy((*stack_.final_norm)(x), head_->value, head_->transposed, targets, weight, z_weight,
                              row_weights);
}

template <class F>
auto LanguageModel::whole_run(const Tensor& ids, const Context& cx, State* state, F&& f) const {
  const Context before = given(cx, state);
  const Call call(before, *site_);
  Context with = before;
  with.positions = call.positions(ids);
  with.ids = ids;
  with.shelf = std::make_shared<Shelf>();
  require(!has_encoder() || state || cx.memory.rows.defined(),
          "the model reads an encoder's memory: encode() makes it");
  if (state && cx.memory.rows.defined())
    for (int64_t i = 0; i < layers(); ++i) block(i).remember(cx.memory, Call(with, layer_site(i)));
  auto y = f(with);
  call.advance(ids.dim(1));
  return y;
}

Tensor LanguageModel::body(const Tensor& ids, const Context& cx, State* state, const AfterLayer& after) const {
  return whole_run(ids, cx, state, [&](const Context& with) {
    Tensor x = embed(ids, with, state);
    if (!after) return run(std::move(x), 0, used_, with, state);
    for (int64_t i = 0; i < used_; ++i) {
      x = run(std::move(x), i, i + 1, with, state);
      after(i + 1, x);
    }
    return x;
  });
}

std::vector<Tensor> LanguageModel::bodies(const Tensor& ids, const TokensAhead& tokens, const Context& cx,
                                          State* state) const {
  return whole_run(ids, cx, state, [&](const Context& with) {
    const Tensor trunk = run(embed(ids, with, state), 0, layers() - 1, with, state);
    // A handle for each block, so that its gradient is whole before it is added: in one order, recomputed or not.
    const auto own = [&] { return further() > 0 && !config_.heads_in_a_row ? scale(trunk, 1) : trunk; };
    std::vector<Tensor> all = {run(own(), layers() - 1, layers(), with, state)};
    for (int64_t ahead = 2; ahead < further() + 2; ++ahead)
      all.push_back(config_.heads_in_a_row ? further_body(ahead, all.back(), tokens(ahead), with, state)
                                           : further_body(ahead, own(), {}, with, state));
    return all;
  });
}

Tensor LanguageModel::further_body(int64_t ahead, const Tensor& x, const Tensor& tokens, const Context& cx,
                                   State* state) const {
  const FurtherHead& head = heads_[static_cast<size_t>(ahead - 2)];
  const Context pass = given(cx, state);
  const Tensor embedded = config_.heads_in_a_row ? embedding(tokens, embedding_->value) : Tensor();
  return through(head.block(), head.input(x, embedded), Call(pass, further_site(ahead)));
}

const Norm& LanguageModel::norm_of(int64_t ahead) const {
  const Norm* own = ahead > 1 ? heads_[static_cast<size_t>(ahead - 2)].final_norm() : nullptr;
  return own ? *own : *stack_.final_norm;
}

LossAndSquares LanguageModel::further_loss(int64_t ahead, const Tensor& x, const Tensor& targets, double weight) const {
  return linear_cross_entropy(norm_of(ahead)(x), head_->value, head_->transposed, targets, weight);
}

Tensor LanguageModel::logits(const Tensor& ids, const Context& cx, State* state) const {
  return head(body(ids, cx, state));
}

Tensor LanguageModel::loss(const Tensor& ids, const Tensor& targets, double weight, const Context& cx,
                           State* state) const {
  return head_loss(body(ids, cx, state), targets, weight).loss;
}

State LanguageModel::make_state(int64_t batch, int64_t capacity, const State::Make& make) const {
  return {site_, batch, capacity, store_.dtype(), make};
}

template <class F>
void LanguageModel::each_block(F&& f) const {
  for (const Stack* stack : {&stack_, &encoder_})
    for (const auto& b : stack->blocks) f(*b);
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
  return stack_.positions || encoder_.positions ? config_.max_tokens : std::numeric_limits<int64_t>::max();
}

std::unique_ptr<LanguageModel> model_on_shapes(const ModelConfig& config, int64_t vocab) {
  auto model = std::make_unique<LanguageModel>(config, vocab);
  model->params().as_meta(DType::f32);
  return model;
}

}  // namespace effllm

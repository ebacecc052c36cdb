// The heads of a model for tokens after the next, which training alone runs.
#include <fmt/format.h>

#include "model/language_model.h"
#include "ops/arithmetic.h"
#include "ops/embedding.h"

namespace effllm {

void LanguageModel::build_heads(const LayerPlaces& places, const Scope& scope) {
  LayerArgs args = places.args(config_.layers.back().same_as.value_or(config_.layers.size() - 1));
  args.used_again = false;
  for (int64_t i = 0; i < config_.heads; ++i)
    heads_.emplace_back(config_, args, scope / fmt::format("heads.{}", i + 2));
}

// After the layers, so that a state without heads has the same fields at the same places.
void LanguageModel::place_heads(Diagnostics& found) {
  if (heads_.empty()) return;
  decoding_site_ = std::make_shared<Site>();
  decoding_site_->count_tokens();
  decoding_site_->child("embedding");
  for (int64_t i = 0; i < layers(); ++i) decoding_site_->child(fmt::format("layers.{}", i), block(i));
  for (size_t i = 0; i < heads_.size(); ++i) {
    Site& place = site_->child(fmt::format("heads.{}", i + 2));
    place.begins();
    heads_[i].block().declare(place);
    head_sites_.push_back(&place);
    for (const SharedValue& v : place.needed())
      if (i == 0 && !config_.heads_in_a_row && layer_site(layers() - 1).gives(v.name))
        found.error(config_.layers.back().block.mark(),
                    fmt::format("the last layer gives `{0}`, and heads beside it would take its instead of their own: "
                                "let an earlier layer be the first that gives `{0}`, or take form: sequential",
                                v.name));
  }
}

std::vector<Tensor> LanguageModel::bodies(const Tensor& ids, const TokensAhead& tokens, const Context& cx,
                                          State* state) const {
  const Context with = begun(ids, cx, state);
  const Tensor trunk = run(embed(ids, with, state), 0, layers() - 1, with, state);
  // A handle for each block, so that its gradient is whole before it is added: in one order, recomputed or not.
  const auto own = [&] { return further() > 0 && !config_.heads_in_a_row ? scale(trunk, 1) : trunk; };
  std::vector<Tensor> all = {run(own(), layers() - 1, layers(), with, state)};
  for (int64_t ahead = 2; ahead < further() + 2; ++ahead)
    all.push_back(config_.heads_in_a_row ? further_body(ahead, all.back(), tokens(ahead), with, state)
                                         : further_body(ahead, own(), {}, with, state));
  Call(with, *site_).advance(ids.dim(1));
  return all;
}

Tensor LanguageModel::further_body(int64_t ahead, const Tensor& x, const Tensor& tokens, const Context& cx,
                                   State* state) const {
  const FurtherHead& head = heads_[static_cast<size_t>(ahead - 2)];
  const Context pass = given(cx, state);
  const Tensor embedded = config_.heads_in_a_row ? embedding(tokens, embedding_->value) : Tensor();
  return run_block(head.block(), head.input(x, embedded), Call(pass, further_site(ahead)));
}

const Norm& LanguageModel::norm_of(int64_t ahead) const {
  const Norm* own = ahead > 1 ? heads_[static_cast<size_t>(ahead - 2)].final_norm() : nullptr;
  return own ? *own : *stack_.final_norm;
}

LossAndSquares LanguageModel::further_loss(int64_t ahead, const Tensor& x, const Tensor& targets, double weight) const {
  return linear_cross_entropy(norm_of(ahead)(x), head_->value, head_->transposed, targets, weight);
}

}  // namespace effllm

// Which experts a token is sent to, and with what weights: scores, the choice, and what keeps experts evenly used.
#pragma once
#include <optional>

#include "cores/route/choose.h"
#include "nn/layer.h"

namespace effllm {

struct RouterOptions {
  int64_t experts = 8, top_k = 2;
  std::string score = "softmax", choose = "top_k";
  int64_t hash_seed = 0;
  double top_p = 0.4;
  bool topk_norm = true;
  double scale = 1;
  int64_t groups = 1, groups_kept = 1;
  std::optional<double> capacity;
  std::string drop_order = "token_major";
  double jitter = 0;
  // What keeps experts evenly used.
  double balance = 0.01, balance_rate = 1.2;
  std::string balance_f = "unit", balance_scope = "layer_mean", balance_tokens = "previous_batch";
  double router_z = 0, entropy = 0;
  double bias_rate = 0;
  bool bias_center = false;
  int64_t silent = 0;  // of the experts the last that answer nothing: their weights are none
  void visit(OptionVisitor& v);
  void check(const Mark& mark) const;  // ConfigError with all that does not fit together
};

// What else training hangs on where options, written out, are those of a router whose balance loss is one of each
// shard;
// "": nothing.
std::string_view hangs_on(const ConfigNode& options);

struct Routing {
  Tensor experts;         // i64 [B, T, k], best first, -1 for none
  Tensor weights;         // [B, T, k]
  int64_t most_each = 0;  // choices that an expert takes of all these tokens at most; 0: any number
};

class Router {
 public:
  // `part`: the name of the layer, whose uses a loss is averaged over. ConfigError at `mark` where layers differ that
  // share what they count.
  Router(const RouterOptions& o, std::string_view part, const LayerArgs& args, const Scope& s, const Mark& mark);
  Routing operator()(const Tensor& x, const Call& call) const;

 private:
  bool relu() const { return how_.by == ChooseBy::positive; }
  Routing by_hash(const Tensor& x, const Call& call) const;
  int64_t capacity_of(const Tensor& x, const Call& call) const;
  Routing within_capacity(const Tensor& experts, const Tensor& weights, const Tensor& x, const Call& call) const;
  Tensor score_of(const Tensor& logits) const;
  Tensor choose(const Tensor& by, const Call& call) const;
  // What the numbers of times are divided by to be shares.
  double whole(std::span<const double> times, int64_t tokens) const;
  double balance_weight() const;
  void add_up(const Tensor& logits, const Tensor& score, const Tensor& chosen, const Call& call) const;
  Tensor shares(const std::vector<double>& times, const Tensor& chosen) const;

  RouterOptions o_;
  Choosing how_;
  double per_layer_;             // of losses
  Parameter* weight_ = nullptr;  // hash: there is none
  ModelBuffer *bias_ = nullptr, *load_ = nullptr, *moved_ = nullptr;
};

}  // namespace effllm

#include "ffn/router.h"

#include <algorithm>

#include "cores/route/balance.h"
#include "ffn/routing_measures.h"
#include "ops/arithmetic.h"
#include "ops/jitter.h"
#include "ops/linear.h"
#include "ops/pointwise.h"
#include "ops/softmax.h"

namespace effllm {
namespace {

constexpr Metric kBalance{"balance", "1", "balance loss of the router, before its weight"},
    kRouterZ{"router_z", "1", "mean squared log of the sum of exponentials of the router's logits"},
    kBalanceWeight{"balance_weight", "1", "weight of the balance loss, which choose: relu moves"},
    kChosen{"chosen", "1", "mean number of experts of a token"},
    kDropped{"dropped", "1", "share of choices beyond an expert's capacity"};

constexpr double kTiny = 1e-20;  // beside a sum of weights

}  // namespace

Router::Router(const RouterOptions& o, std::string_view part, const LayerArgs& args, const Scope& s, const Mark& mark)
    : o_(o),
      how_{.by = o.choose == "top_p"  ? ChooseBy::share
                 : o.choose == "relu" ? ChooseBy::positive
                                      : ChooseBy::count,
           .count = o.top_k,
           .share = o.top_p,
           .groups = o.groups,
           .kept = o.groups_kept},
      per_layer_(o.balance_scope == "layer_sum" ? 1 : 1 / static_cast<double>(args.layers_with(part))) {
  if (o.choose == "hash") return;
  weight_ = &s.param("weight", {o.experts, args.d_model}, Init::normal(0.02),
                     {.role = Role::hidden, .matrices = {o.experts}});
  if (o.bias_rate > 0)
    bias_ = &s.buffer("bias", o.experts, 0, [o](std::span<double> bias, std::span<const double> times) {
      const double mean = total(times) / static_cast<double>(times.size());
      for (size_t e = 0; e < bias.size(); ++e) bias[e] += o.bias_rate * ((times[e] < mean) - (times[e] > mean));
      if (!o.bias_center) return;
      const double middle = total(bias) / static_cast<double>(bias.size());
      for (double& b : bias) b -= middle;
    });
  if (relu())  // one for all layers, whose choices it counts together
    moved_ = &s.shared_statistic(std::string(part) + ".balance_weight", 1, o.balance,
                                 [rate = o.balance_rate, wanted = static_cast<double>(o.top_k)](
                                     std::span<double> weight, std::span<const double> chosen_and_tokens) {
                                   const bool too_many = chosen_and_tokens[0] > wanted * chosen_and_tokens[1];
                                   weight[0] = too_many ? weight[0] * rate : weight[0] / rate;
                                 });
  if (o.balance == 0 || o.balance_tokens != "previous_batch") return;
  const auto shares = [](std::span<double> share, std::span<const double> times) {
    if (const double whole = times.back(); whole > 0)
      for (size_t e = 0; e < share.size(); ++e) share[e] = times[e] / whole;
  };
  const double even = 1 / static_cast<double>(o.experts);
  if (o.balance_scope != "pooled") {
    load_ = &s.statistic("load", o.experts, even, shares);
    return;
  }
  try {
    load_ = &s.shared_statistic(std::string(part) + ".load", o.experts, even, shares);
  } catch (const ShapeError&) {
    throw_at(mark, "balance_scope: pooled needs as many experts in all layers");
  }
}

Routing Router::operator()(const Tensor& x, const Call& call) const {
  if (!weight_) return by_hash(x, call);
  const double noise = call.left_out(o_.jitter);
  const Tensor in = noise > 0 ? jitter(x, noise, call.random("jitter"), call.tokens().samples) : x;
  const Tensor logits = linear_by_dots(in, weight_->value);
  const Tensor score = score_of(logits);
  Tensor experts = choose(relu() ? logits : score, call);
  if (call.adds_up()) add_up(logits, score, experts, call);
  if (o_.silent > 0) experts = experts_within(experts, 0, o_.experts - o_.silent);
  Tensor weights = scores_of(score, experts);  // of the whole choice: what is dropped takes its weight along
  if (o_.topk_norm) weights = divide_by_sum(weights, kTiny);
  return within_capacity(experts, o_.scale == 1 ? weights : effllm::scale(weights, o_.scale), x, call);
}

Routing Router::by_hash(const Tensor& x, const Call& call) const {
  const Tensor& ids = call.ids();
  const Tensor all = Tensor::dense({x.dim(0), x.dim(1), 1}, DType::i64);
  if (!all.is_meta()) {
    const RandomStream numbers(static_cast<uint64_t>(o_.hash_seed), "hash");
    for (int64_t r = 0; r < all.numel(); ++r)
      all.data<int64_t>()[r] = static_cast<int64_t>(
          numbers.below(static_cast<uint64_t>(ids.data<int32_t>()[r]), static_cast<uint64_t>(o_.experts)));
  }
  if (call.adds_up()) add_loads(times_chosen(all, o_.experts), call);
  const Tensor experts = o_.silent > 0 ? experts_within(all, 0, o_.experts - o_.silent) : all;
  return within_capacity(experts, Tensor::full(all.shape(), x.dtype(), o_.scale), x, call);
}

// Choices of a sequence of x that an expert takes at most, in training; 0: any number.
int64_t Router::capacity_of(const Tensor& x, const Call& call) const {
  if (!o_.capacity || call.pass().phase != Phase::train) return 0;
  const double even = static_cast<double>(how_.count * x.dim(1)) / static_cast<double>(o_.experts);
  return std::max<int64_t>(1, static_cast<int64_t>(*o_.capacity * even));
}

Routing Router::within_capacity(const Tensor& experts, const Tensor& weights, const Tensor& x, const Call& call) const {
  const int64_t capacity = capacity_of(x, call);
  if (capacity == 0) return {experts, weights};
  const Tensor kept = limit_experts(experts, o_.experts, capacity,
                                    o_.drop_order == "choice_major" ? DropOrder::choice_major : DropOrder::token_major);
  const double before = total(times_chosen(experts, o_.experts)), after = total(times_chosen(kept, o_.experts));
  call.mean(kDropped, (before - after) / static_cast<double>(how_.count));
  return {kept, weights, capacity * x.dim(0)};
}

Tensor Router::score_of(const Tensor& logits) const {
  if (relu()) return pointwise(Pointwise::relu, logits);
  return o_.score == "softmax" ? softmax(logits) : sigmoid(logits);
}

Tensor Router::choose(const Tensor& by, const Call& call) const {
  const bool shown = call.pass().taps;
  Tensor margin;
  const Tensor experts = choose_experts(by, bias_ ? bias_->value : Tensor(), how_, shown ? &margin : nullptr);
  if (shown) call.tap_choice(in_order(experts), margin);
  return experts;
}

void Router::add_up(const Tensor& logits, const Tensor& score, const Tensor& chosen, const Call& call) const {
  const std::vector<double> times = times_chosen(chosen, o_.experts);
  add_loads(times, call);
  if (o_.entropy > 0)
    call.loss(kEntropy, entropies(score), o_.entropy * per_layer_);
  else
    call.mean(kEntropy, entropy(score));
  if (how_.by != ChooseBy::count) call.mean(kChosen, total(times));
  if (bias_) call.statistic(*bias_, times);
  if (load_) {
    std::vector<double> with_whole = times;
    with_whole.push_back(whole(times, chosen.rows()));
    call.statistic(*load_, with_whole);
  }
  if (moved_) {
    const auto tokens = static_cast<double>(chosen.rows());
    call.statistic(*moved_, {total(times), tokens});
    call.mean(kBalanceWeight, balance_weight() * tokens);
  }
  if (o_.router_z > 0) call.loss(kRouterZ, squared_log_sums(logits), o_.router_z * per_layer_);
  if (o_.balance == 0) return;
  const Tensor p = o_.score == "softmax" || relu() ? score : divide_by_sum(score, kTiny);
  const double f = o_.balance_f == "unit" ? 1 : static_cast<double>(o_.top_k);
  call.loss(kBalance, weighted_total(p, shares(times, chosen), f * static_cast<double>(o_.experts)),
            balance_weight() * per_layer_);
}

double Router::balance_weight() const {
  double weight = o_.balance;
  if (moved_ && !moved_->value.is_meta())
    dispatch_float(moved_->value.dtype(), [&]<class T>() { weight = static_cast<double>(*moved_->value.data<T>()); });
  return weight;
}

double Router::whole(std::span<const double> times, int64_t tokens) const {
  return relu() ? static_cast<double>(tokens * o_.top_k) : total(times);
}

// The share of each expert in the choices that count: f64 [E], or [B, E].
Tensor Router::shares(const std::vector<double>& times, const Tensor& chosen) const {
  const auto fill_row = [&](double* to, std::span<const double> n, int64_t of_tokens) {
    const double sum = std::max(whole(n, of_tokens), 1.0);
    for (size_t e = 0; e < n.size(); ++e) to[e] = n[e] / sum;
  };
  const int64_t batch = chosen.dim(0), tokens = chosen.dim(1);
  const bool each = o_.balance_tokens == "sequence";
  const Tensor share = Tensor::dense(each ? Shape{batch, o_.experts} : Shape{o_.experts}, DType::f64);
  if (share.is_meta()) return share;
  double* to = share.data<double>();
  if (load_)
    dispatch_float(load_->value.dtype(), [&]<class T>() { std::copy_n(load_->value.data<T>(), o_.experts, to); });
  else if (each)
    for (int64_t b = 0; b < batch; ++b)
      fill_row(to + b * o_.experts, times_chosen(chosen.row_range(b * tokens, {1, tokens, chosen.cols()}), o_.experts),
               tokens);
  else
    fill_row(to, times, batch * tokens);
  return share;
}

}  // namespace effllm

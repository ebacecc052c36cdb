#include "ffn/router.h"

#include <fmt/format.h>

namespace effllm {

void RouterOptions::visit(OptionVisitor& v) {
  v("experts", experts, "Sets the number of experts.", between(1, 65536));
  v("top_k", top_k,
    "Sets the number of experts of a token; with top_p how many costs expect, with relu how many there are to be.",
    between(1, 1024));
  v("choose", choose,
    "Chooses which experts a token gets: always the top_k best, as few of the best as have top_p of the score, all "
    "with a logit above 0, which is their score too, or the one that a hash of its id says, with weight 1 and nothing "
    "to learn; relu needs topk_norm: false, hash top_k: 1.",
    {"top_k", "top_p", "relu", "hash"});
  v("hash_seed", hash_seed, "Chooses the hash; layers with one seed send a token to the same expert.", at_least(0));
  v("top_p", top_p, "Sets the share of the score that the experts of a token reach with top_p.", between(0.01, 1));
  v("score", score, "Chooses what turns the router's logits into scores.", {"softmax", "sigmoid"});
  v("topk_norm", topk_norm, "Divides the weights of a token's experts by their sum.");
  v("scale", scale, "Multiplies the weights of the experts.", between(1e-6, 1e6));
  v("groups", groups, "Parts the experts into so many groups of equal size, of which a token takes the best.",
    between(1, 1024));
  v("groups_kept", groups_kept, "Sets how many groups a token chooses from; the others are out of question.",
    between(1, 1024));
  v("capacity", capacity,
    "Lets an expert take at most so many times its even share top_k T / E of a sequence of T tokens in training, "
    "rounded down but at least one, and drops the choices beyond it, whose weights no other gets; evaluation drops "
    "none. Default: no limit.",
    between(0.01, 1024));
  v("drop_order", drop_order,
    "Chooses who is served first: earlier tokens, each with its best choice first, or all first choices before second "
    "ones.",
    {"token_major", "choice_major"});
  v("jitter", jitter, "Multiplies what the router reads in training by numbers from 1 - jitter to 1 + jitter.",
    between(0, 0.99));
  v("balance", balance, "Weighs the balance loss E sum_e f_e P_e, the product of an expert's share and its score.",
    between(0, 100));
  v("balance_rate", balance_rate,
    "Multiplies the weight of the balance loss, which starts at balance, after a step of relu in which tokens had more "
    "than top_k experts on average, and divides it after others.",
    between(1, 100));
  v("balance_f", balance_f, "Lets the shares f of the experts add up to 1, or to top_k.", {"unit", "k"});
  v("balance_scope", balance_scope,
    "Takes the mean over layers of their balance losses, their sum, or one loss whose shares are those of all layers.",
    {"layer_mean", "layer_sum", "pooled"});
  v("balance_tokens", balance_tokens,
    "Counts the shares f over the whole batch before, over a shard (they then depend on train.lanes and "
    "train.shard_tokens), or over each sequence.",
    {"previous_batch", "shard", "sequence"});
  v("router_z", router_z, "Weighs the squared log of the sum of exponentials of the router's logits.", between(0, 1));
  v("entropy", entropy,
    "Weighs the entropy of a token's scores, which makes few experts enough for top_p; 1e-4 in the authors' runs.",
    between(0, 1));
  v("bias_rate", bias_rate,
    "Moves a bias of each expert, added to its score for the choice alone, so much a step against its load.",
    between(0, 1));
  v("bias_center", bias_center, "Keeps the mean of these biases at 0.");
}

void RouterOptions::check(const Mark& mark) const {
  Diagnostics found;
  const auto refuse = [&](bool wrong, std::string text) {
    if (wrong) found.error(mark, std::move(text));
  };
  const int64_t open = groups > 0 && experts % groups == 0 ? experts / groups * groups_kept : experts;
  refuse(experts % groups != 0, fmt::format("{} experts don't fall into {} groups of equal size", experts, groups));
  refuse(groups_kept > groups, fmt::format("groups_kept is {} of {} groups", groups_kept, groups));
  refuse(choose == "top_k" && top_k > open,
         fmt::format("top_k is {}, but a token chooses from {} experts", top_k, open));
  refuse(choose == "top_p" && score != "softmax", "top_p needs scores that add up to 1: take score: softmax");
  refuse(choose != "top_k" && groups > 1, fmt::format("{} chooses from all experts: leave groups out", choose));
  refuse(choose != "top_k" && choose != "hash" && capacity.has_value(),
         fmt::format("a capacity is a share of top_k choices: leave it out with {}", choose));
  refuse(choose != "top_k" && bias_rate > 0,
         fmt::format("a bias turns the choice of top_k: leave bias_rate out with {}", choose));
  refuse(choose == "relu" && score != "softmax", "with relu the logits are the scores: leave score out");
  refuse(choose == "relu" && topk_norm, "with relu the logits weigh the experts: take topk_norm: false");
  refuse(choose == "relu" && balance == 0,
         "relu needs a balance loss that keeps experts from being chosen: set balance");
  refuse(choose == "relu" && top_k >= experts, fmt::format("relu chooses top_k of {} experts, not {}", experts, top_k));
  refuse(entropy > 0 && (choose == "relu" || score != "softmax"), "an entropy is one of softmax scores");
  refuse(balance_scope == "pooled" && balance_tokens != "previous_batch",
         "balance_scope: pooled needs balance_tokens: previous_batch, since other layers have not run yet");
  refuse(choose == "hash" && top_k != 1, "a hash sends a token to one expert: take top_k: 1");
  refuse(choose == "top_k" && top_k == 1 && experts > 1 && topk_norm,
         "one expert a token has weight 1 with topk_norm, and the router no gradient: take topk_norm: false");
  const RouterOptions usual;
  const auto idle = [&](bool set, bool used, std::string_view name, std::string_view with) {
    refuse(set && !used, fmt::format("{} does nothing without {}", name, with));
  };
  idle(hash_seed != usual.hash_seed, choose == "hash", "hash_seed", "choose: hash");
  if (choose == "hash") {  // no scores, no losses
    const auto nothing = [&](bool set, std::string_view name) {
      refuse(set, fmt::format("{} does nothing where a hash chooses: leave it out", name));
    };
    nothing(score != usual.score, "score");
    nothing(topk_norm != usual.topk_norm, "topk_norm");
    nothing(jitter != usual.jitter, "jitter");
    nothing(balance != usual.balance, "balance");
    nothing(balance_f != usual.balance_f, "balance_f");
    nothing(balance_scope != usual.balance_scope, "balance_scope");
    nothing(balance_tokens != usual.balance_tokens, "balance_tokens");
    nothing(router_z != usual.router_z, "router_z");
    nothing(entropy != usual.entropy, "entropy");
  }
  idle(top_p != usual.top_p, choose == "top_p", "top_p", "choose: top_p");
  idle(balance_rate != usual.balance_rate, choose == "relu", "balance_rate", "choose: relu");
  idle(drop_order != usual.drop_order, capacity.has_value(), "drop_order", "a capacity");
  idle(bias_center, bias_rate > 0, "bias_center", "a bias_rate");
  idle(balance_f != usual.balance_f, balance > 0, "balance_f", "a balance above 0");
  idle(balance_tokens != usual.balance_tokens, balance > 0, "balance_tokens", "a balance above 0");
  idle(balance_scope != usual.balance_scope, balance > 0 || router_z > 0, "balance_scope",
       "balance or router_z above 0");
  found.throw_if_any();
}

std::string_view hangs_on(const ConfigNode& options) {
  const ConfigNode* tokens = options.find("balance_tokens");
  if (!tokens || tokens->text() != "shard") return "";
  return "balance_tokens: shard: the balance loss is one of each shard, so that what is trained hangs on the number of "
         "lanes (train.lanes) too";
}

}  // namespace effllm

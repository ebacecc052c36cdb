// One use of a layer in a run of the model: what it remembers, by name, and what else travels beside the activations.
#pragma once
#include <string_view>

#include "nn/context.h"
#include "nn/ledger.h"
#include "nn/state.h"

namespace effllm {

// Three references, copied for nothing: what they refer to outlives it.
class Call {
 public:
  Call(const Pass& pass, const Tokens& tokens, const Site& site) : pass_(&pass), tokens_(&tokens), site_(&site) {}
  Call(const Context& cx, const Site& site) : Call(cx, cx, site) {}
  Call(const Context&&, const Site&) = delete;

  // At a place inside this one.
  Call child(std::string_view name) const { return {*pass_, *tokens_, (*site_)[name]}; }
  Call with(const Pass& pass, const Tokens& tokens) const { return {pass, tokens, *site_}; }
  const Site& site() const { return *site_; }
  const Pass& pass() const { return *pass_; }
  const Tokens& tokens() const { return *tokens_; }

  bool has_state() const { return pass_->state; }
  // A field of the site, [B, ...]: undefined where there is no state; a write replaces it, or does nothing. Both throw
  // an Error where the site has declared none of this name. What somebody else still holds, a copy of the state or a
  // reader, is never written into.
  Tensor read(std::string_view field) const;
  void write(std::string_view field, const Tensor& value) const;
  // The field to be written in place, and then to write(): its memory where nobody else holds that, or else a copy.
  // While a tape records it is what read() gives.
  Tensor own(std::string_view field) const;
  // The same of a field to which rows are added behind those of the tokens that were seen, and no other is changed:
  // what marks of the state alone hold beside it may be written behind.
  Tensor grow(std::string_view field) const;
  // Tokens of the running document before this call, and after `tokens` of it, i64 [B]; undefined where there is no
  // state.
  Tensor seen() const;
  Tensor seen_after(int64_t tokens) const;
  // Counts them, where the site does.
  void advance(int64_t tokens) const;

  // Leaves a value of each token [B, T, width] on the shelf for later places, and takes what an earlier one left. An
  // Error where the site has declared none of this name.
  void give(std::string_view name, const Tensor& value) const;
  Tensor take(std::string_view name) const;
  // A shelf with what is needed here, f of each: for tokens that are picked or turned.
  std::shared_ptr<Shelf> shelf_of(const std::function<Tensor(const Tensor&)>& f) const;

  const Tensor& segments() const { return tokens_->segments; }
  // Which tokens these are, i32 [B, T]: an Error where the run was not told.
  const Tensor& ids() const;
  // Places of the tokens of x, [B, T, ..], in their documents: those given, or counted. i64 [B, T].
  Tensor positions(const Tensor& x) const;
  // The same counted here: after the tokens that the state has seen, from 0 at each document start. Where a layer is
  // given some of the tokens they are its own count, which blocks and mini-batches go by.
  Tensor counted(const Tensor& x) const;
  // Offers a value to the tap under "<site>.<name>"; free where nothing taps.
  Tensor tap(std::string_view name, const Tensor& value) const;
  // Shows the tap what was chosen, lists of numbers [B, T, n] under "<site>.selected", and how far the last that was
  // chosen was from the first that was not, [B, T, n'] under "<site>.margin". A choice can't be replaced.
  void tap_choice(const Tensor& selected, const Tensor& margin) const;
  // Where a step adds up, see Ledger: an auxiliary loss of this place, what it measures, what a buffer changes by.
  bool adds_up() const { return pass_->ledger; }
  void loss(const Metric& metric, const Tensor& sum, double weight, Ledger::Per per = Ledger::Per::token) const {
    if (pass_->ledger) pass_->ledger->loss(site_->path(), metric, sum, weight, per, tokens_->share);
  }
  void loss_of(const Metric& metric, const Tensor& sum, int64_t counted, double weight) const {
    if (pass_->ledger) pass_->ledger->loss_of(site_->path(), metric, sum, counted, weight);
  }
  void mean(const Metric& metric, double sum) const {
    if (pass_->ledger) pass_->ledger->mean(site_->path(), metric, sum / tokens_->share);
  }
  void whole(const Metric& metric, const std::vector<double>& sums, Ledger::Whole of) const {
    if (pass_->ledger) pass_->ledger->whole(site_->path(), metric, sums, of);
  }
  void statistic(const ModelBuffer& buffer, const std::vector<double>& sums) const {
    if (pass_->ledger) pass_->ledger->statistic(buffer, sums);
  }
  // What this run leaves out at random of something that training leaves out at `rate`.
  double left_out(double rate) const { return pass_->phase == Phase::train && pass_->leave_out ? rate : 0; }
  // The numbers of this place at this step, for that.
  RandomStream random(std::string_view purpose) const;

 private:
  Tensor read(const Site& site, std::string_view field) const;
  void write(const Site& site, std::string_view field, const Tensor& value) const;

  const Pass* pass_;
  const Tokens* tokens_;
  const Site* site_;
};

}  // namespace effllm

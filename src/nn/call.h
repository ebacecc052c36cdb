// One use of a mixer or channel mixer: what it remembers, by name, and what else travels beside the activations.
#pragma once
#include <string>
#include <string_view>

#include "nn/context.h"

namespace effllm {

class Call {
 public:
  Call(const Context& pass = {}) : pass_(pass) {}  // whoever has a Context can call
  Call(const Call&) = delete;                      // the site of a call inside another lies in it
  Call& operator=(const Call&) = delete;

  // Of a mixer inside this one: its site is "<site>.<name>", its fields are those named "<name>.<field>", and the whole
  // counts tokens.
  Call child(std::string_view name) const { return {*this, name}; }

  bool has_state() const { return pass_.state; }
  // A field that state_spec() names, [B, ...]: undefined where there is no state; a write replaces it, or does nothing.
  // Both throw an Error where there is a state without a field of this name.
  Tensor read(std::string_view field) const;
  void write(std::string_view field, const Tensor& value) const;
  // Tokens of the running document before this call, and after `tokens` of it, i64 [B]; undefined where there is no
  // state.
  Tensor seen() const { return pass_.state ? pass_.state->seen : Tensor(); }
  Tensor seen_after(int64_t tokens) const;
  // Counts them; SequenceMixer::forward() does.
  void advance(int64_t tokens) const;

  // Document starts up to and including each token, i64 [B, T]; 0: still the state's document. Undefined: none.
  Tensor segments() const { return pass_.segments ? *pass_.segments : Tensor(); }
  // Places of the tokens of x, [B, T, ..], in their documents: i64 [B, T].
  Tensor positions(const Tensor& x) const { return token_positions(pass_, x.dim(0), x.dim(1)); }
  Tensor tap(std::string_view name, const Tensor& value) const { return effllm::tap(pass_, name, value); }
  void tap_choice(const Tensor& selected, const Tensor& margin) const { effllm::tap_choice(pass_, selected, margin); }
  RandomStream random(std::string_view purpose) const { return random_at(pass_, purpose); }
  const Context& pass() const { return pass_; }

 private:
  Call(const Call& outer, std::string_view name);

  std::string site_, prefix_;  // of a call inside another; prefix_ is that of its fields
  Context pass_;
};

}  // namespace effllm

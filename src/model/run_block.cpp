#include <utility>

#include "autodiff/checkpoint.h"
#include "model/layer_stack.h"
#include "ops/columns.h"

namespace effllm {
namespace {

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

Tensor either_way(const Layer& block, const Tensor& x, const Call& call) {
  return call.pass().recompute ? recomputed(block, x, call) : block.forward(x, call);
}

// A name of its own, in the same memory.
Tensor handle(const Tensor& t) { return split_columns(t, {t.cols()})[0]; }

}  // namespace

Tensor run_block(const Layer& block, const Tensor& x, const Call& call) {
  if (!Tape::recording()) return block.forward(x, call);
  const Site& site = call.site();
  const bool reads = site.reads_memory() && call.tokens().memory.rows.defined();
  if (site.needed().empty() && !reads) return either_way(block, x, call);
  Tokens own = call.tokens();
  own.shelf = call.shelf_of(handle);
  if (reads) own.memory.rows = handle(own.memory.rows);
  const Tensor y = either_way(block, x, call.with(call.pass(), own));
  for (const SharedValue& v : site.given())
    if (const auto at = own.shelf->find(v.name); at != own.shelf->end()) call.give(v.name, at->second);
  return y;
}

}  // namespace effllm

#include "train/rehearsal.h"

#include <algorithm>
#include <set>

#include "decode/reading.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

// Runs f as a worker would, whose ops are sequential, or as the thread that leaves all others to the ops.
template <class F>
void as_worker(bool worker, F&& f) {
  worker ? run_workers(1, [&](int) { f(); }) : f();
}

}  // namespace

Rehearsal::Rehearsal(const RunConfig& config, LanguageModel& model, int64_t carried)
    : config_(config),
      model_(model),
      plan_(plan_shards(config.train, model)),
      pool_(BufferPool::local()),
      objective_(config.objective.type.build()),
      carried_(carried) {
  pool_.forget_meta();
}

Rehearsal::~Rehearsal() { pool_.forget_meta(); }

Ledger Rehearsal::step(const Taps* taps) {
  Ledger ledger;
  std::set<int64_t> sizes;
  for (const auto& lane : plan_.lanes)
    for (const Shard& s : lane) sizes.insert(s.sequences);
  as_worker(plan_.lanes.size() > 1, [&] {
    for (int64_t sequences : sizes) shard(sequences, taps, ledger);
  });
  return ledger;
}

void Rehearsal::shard(int64_t sequences, const Taps* taps, Ledger& ledger) {
  const MetaMode meta;
  Tape tape;
  Context cx;
  cx.phase = Phase::train;
  cx.taps = taps;
  cx.ledger = &ledger;
  cx.recompute = config_.train.recomputes() && !taps;  // a tap looks at each block once
  const Tensor ids = Tensor::dense({sequences, config_.train.context}, DType::i32);
  State state;
  if (carried_ > 0) state = model_.training_state(sequences, carried_);
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = objective_->loss(model_, {ids, ids, {}}, 1, cx, carried_ > 0 ? &state : nullptr);
  }
  tape.backward(loss, Tensor::dense({1}, DType::f64));
}

void Rehearsal::evaluate(EvalPlan::Size size, int64_t room, bool worker, bool by_exit) {
  as_worker(worker, [&] {
    const MetaMode meta;
    State state;
    if (room > 0) state = model_.make_state(size.windows, room);
    const Tensor ids = Tensor::dense({size.windows, size.tokens}, DType::i32);
    objective_->score(model_, {ids, ids, {}}, {.state = room > 0 ? &state : nullptr, .by_exit = by_exit});
  });
}

void Rehearsal::encoded_sample(int64_t prompt, int64_t tokens, const ContextLimit& limit) {
  const auto begun = [&](int64_t text) {
    auto [reads, room] = limit.begun(text, tokens);
    room = std::min(room, tokens + 1);
    if (const int64_t sentinels = model_.config().extra_targets; sentinels > 0)  // of as many blanks as there may be
      room += std::min(prompt + 1, sentinels - 1);
    State state = model_.make_state(1, std::min(room, model_.longest()));
    Context read;
    read.memory = model_.encode(Tensor::dense({1, reads}, DType::i32), {});
    model_.logits(Tensor::dense({1, 1}, DType::i32), read, &state);
    return state;
  };
  const State start = begun(prompt);  // that of all samples
  State own = start;
  model_.logits(Tensor::dense({1, 1}, DType::i32), {}, &own);
  if (!limit.takes_effect(prompt, tokens)) return;
  State again = begun(limit.again);  // before the one that it follows is given back
  model_.logits(Tensor::dense({1, 1}, DType::i32), {}, &again);
}

void Rehearsal::sample(int64_t prompt, int64_t tokens, const ContextLimit& limit) {
  const MetaMode meta;
  Context cx;
  if (model_.has_encoder()) {
    encoded_sample(std::max<int64_t>(1, prompt), tokens, limit);
    return;
  }
  int64_t room = std::min(prompt + tokens, model_.longest());
  if (limit.tokens > 0) room = std::min(room, limit.tokens);
  if (!model_.config().causal) {
    model_.logits(Tensor::dense({1, room}, DType::i32), cx);
    return;
  }
  // A text that becomes longer than this is read again from its last half, or from more where less is left to write.
  const int64_t most = limit.anew && limit.tokens > 0 ? std::min(limit.tokens, model_.longest()) : model_.longest();
  const bool again = prompt + tokens - limit.unread > most;
  if (const int64_t block = model_.config().block) {
    if (again) prompt = std::max(prompt, most - block);
    State state = model_.make_state(1, (room + block - 1) / block * block);
    model_.body(
        Tensor::dense({1, std::clamp(prompt, block, std::max(block, kPrefillPiece / block * block))}, DType::i32), cx,
        &state);
    State own = state;
    model_.logits(Tensor::dense({1, block}, DType::i32), cx, &own);
    return;
  }
  if (!limit.anew) cx.reach = limit.tokens;
  if (again) prompt = std::max(prompt, most / 2);
  prompt = std::clamp<int64_t>(prompt, 1, std::max<int64_t>(1, limit.anew ? room : model_.longest()));
  State state = model_.make_state(1, room);
  if (model_.config().prefix) {
    cx.prefix = Tensor::dense({1}, DType::i64);
    model_.body(Tensor::dense({1, prompt}, DType::i32), cx, &state);
    cx.prefix = {};
    prompt = 0;
  }
  for (int64_t n : {std::min(prompt, kPrefillPiece), prompt % kPrefillPiece})
    if (n > 0) model_.logits(Tensor::dense({1, n}, DType::i32), cx, &state);
  State own = state;
  model_.logits(Tensor::dense({1, 1}, DType::i32), cx, &own);
}

}  // namespace effllm

// Checks of states: stored and read, branched and given back.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/text.h"
#include "checkpoint/state_file.h"
#include "verify/verifier.h"

namespace effllm {

// The second half after a first one, from `state`.
Outcome Verifier::rest(State& state) const {
  Outcome o;
  o.logits = model_.logits(token_range(ids_, border(tokens_ / 2), tokens_), {}, &state);
  return o;
}

State Verifier::half() const {
  State state = model_.make_state(batch_, tokens_);
  Context cx;
  cx.memory = memory_;
  model_.logits(token_range(ids_, 0, border(tokens_ / 2)), cx, &state);
  return state;
}

void Verifier::stored_state() {
  Finding& f = begin("state stored and read", 0);
  const auto folder = options_.scratch.empty() ? std::filesystem::temp_directory_path() : options_.scratch;
  const auto file = folder / fmt::format("effllm-state-{}.safetensors", getpid());
  State state = half();
  save_state(file, state);
  State again = model_.make_state(batch_, tokens_);
  if (model_.has_encoder()) {  // of a memory of this size, so that it has the room
    Context cx;
    cx.memory = {Tensor::zeros(memory_.rows.shape(), memory_.rows.dtype()), memory_.lengths};
    model_.logits(token_range(ids_, 0, 1), cx, &again);
  }
  load_state(file, again);
  std::filesystem::remove(file);
  const Outcome right = rest(state);
  compare(f, rest(again), 0, right, fmt::format("stored after {} tokens", border(tokens_ / 2)));
  end();
}

// A branch that reads something else leaves the state that it was copied from as it was.
void Verifier::rollback() {
  Finding& f = begin("rollback to a clone", 0);
  State state = half();
  State undisturbed = half();
  State branch = state;
  model_.logits(token_range(ids_, 0, tokens_ - border(tokens_ / 2)), {}, &branch);
  const Outcome right = rest(undisturbed);
  compare(f, rest(state), 0, right, fmt::format("rolled back to {} tokens", border(tokens_ / 2)));
  end();
}

// Tokens that are read behind a mark, and taken back, leave no trace: none of them stays, or some.
void Verifier::taken_back() {
  Finding& f = begin("read and taken back", bound());
  for (const int64_t beyond : {unit_, 5 * unit_}) {
    const std::set<int64_t> cuts = {border(1), border(tokens_ / 2), border(tokens_ - 1)};
    compare(f, run(ids_, {.cuts = {cuts.begin(), cuts.end()}, .beyond = beyond}), 0, whole_,
            fmt::format("{} too many", counted(beyond, "token")));
  }
  end();
}

}  // namespace effllm

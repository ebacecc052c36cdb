#include "verify/forms.h"

#include <algorithm>

#include <limits>

namespace effllm {
namespace {

// Rows of `piece` [B, n, ...] become tokens [from, from + n) of `whole` [B, T, ...].
void put_tokens(const Tensor& piece, const Tensor& whole, int64_t from) {
  const int64_t n = piece.dim(1), all = whole.dim(1);
  for (int64_t b = 0; b < piece.dim(0); ++b)
    copy(piece.row_range(b * n, {n, piece.cols()}), whole.row_range(b * all + from, {n, piece.cols()}));
}

// Gathers what taps see under names of choices.
class ChoiceTaps {
 public:
  ChoiceTaps(Outcome& into, int64_t batch, int64_t tokens) : to(tokens), into_(into), batch_(batch), tokens_(tokens) {}
  int64_t from = 0, to;  // the tokens of the call that runs; what it reads beyond them is not kept

  Tensor operator()(std::string_view name, const Tensor& value) {
    if (!name.ends_with(".selected") && !name.ends_with(".margin")) return value;
    const int64_t n = std::min(value.rows() / batch_, to - from);
    Tensor& whole = into_.choices[std::string(name)];
    if (!whole.defined()) {  // what nobody shows was not there to choose
      whole = Tensor::dense({batch_, tokens_, value.cols()}, value.dtype());
      fill(whole, value.dtype() == DType::i64 ? -1 : std::numeric_limits<double>::infinity());
    }
    const Tensor all = value.reshape({batch_, value.rows() / batch_, value.cols()});
    put_tokens(all.dim(1) == n ? all : token_range(all, 0, n), whole, from);
    return value;
  }

 private:
  Outcome& into_;
  int64_t batch_, tokens_;
};

// Document starts of a piece count from its own beginning.
Tensor segments_of(const Tensor& segments, int64_t from, int64_t to) {
  const int64_t batch = segments.dim(0), tokens = segments.dim(1), n = to - from;
  const Tensor part = Tensor::dense({batch, n}, DType::i64);
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t* row = segments.data<int64_t>() + b * tokens;
    const int64_t before = from ? row[from - 1] : 0;
    for (int64_t t = 0; t < n; ++t) part.data<int64_t>()[b * n + t] = row[from + t] - before;
  }
  return part;
}

// The tokens [from, to), as far as there are some, and then others than those that come.
Tensor with_others(const Tensor& ids, int64_t from, int64_t to, int64_t others, int64_t vocab) {
  const int64_t batch = ids.dim(0), tokens = ids.dim(1), n = to - from;
  const Tensor all = Tensor::dense({batch, n + others}, DType::i32);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < n + others; ++i) {
      const int32_t id = ids.data<int32_t>()[b * tokens + (from + i) % tokens];
      all.data<int32_t>()[b * (n + others) + i] = i < n ? id : static_cast<int32_t>((id + 1) % vocab);
    }
  return all;
}

// The logits of tokens [from, to) as Way::beyond says, which a state of the tokens before them then has.
Tensor run_beyond(const LanguageModel& model, const Tensor& ids, int64_t from, int64_t to, const Context& cx,
                  State& state, int64_t beyond) {
  const int64_t room = std::clamp<int64_t>(model.longest() - to, 0, beyond), vocab = model.vocab();
  const int64_t block = std::max<int64_t>(1, model.config().block), others = room / block * block;
  Context unseen = cx;
  unseen.taps = nullptr;
  state.mark();
  if (others > 0) model.body(with_others(ids, to, to, others, vocab), unseen, &state);
  state.rewind(0);
  const int64_t behind = to % block ? 0 : others;  // in a block they would be seen
  const Tensor y = token_range(model.logits(with_others(ids, from, to, behind, vocab), cx, &state), 0, to - from);
  if (!state.rewind(0, to - from)) model.body(token_range(ids, from, to), unseen, &state);
  state.unmark();
  return y;
}

}  // namespace

Tensor token_range(const Tensor& x, int64_t from, int64_t to) {
  const int64_t batch = x.dim(0), all = x.dim(1), n = to - from, cols = x.numel() / (batch * all);
  const Tensor source = x.shape().rank() == 2 ? x.reshape({batch, all, 1}) : x;
  const Tensor part = Tensor::dense({batch, n, cols}, x.dtype());
  for (int64_t b = 0; b < batch; ++b)
    copy(source.row_range(b * all + from, {n, cols}), part.row_range(b * n, {n, cols}));
  return x.shape().rank() == 2 ? part.reshape({batch, n}) : part;
}

std::vector<int64_t> every_token(int64_t tokens, int64_t block) {
  std::vector<int64_t> cuts;
  for (int64_t t = block; t < tokens; t += block) cuts.push_back(t);
  return cuts;
}

Outcome run(const LanguageModel& model, const Tensor& ids, const Way& way, const Memory& memory) {
  const int64_t batch = ids.dim(0), tokens = ids.dim(1);
  Outcome out;
  ChoiceTaps choices(out, batch, tokens);
  const Taps taps = std::ref(choices);
  Context cx;
  cx.chunk = way.chunk;
  cx.phase = way.phase;
  cx.leave_out = false;
  cx.taps = &taps;
  if (way.prefix) {
    cx.prefix = Tensor::dense({batch}, DType::i64);
    std::fill_n(cx.prefix.data<int64_t>(), batch, way.prefix);
  }
  cx.memory = memory;
  if (way.cuts.empty()) {
    if (way.segments) cx.segments = *way.segments;
    out.logits = model.logits(ids, cx);
    return out;
  }
  out.logits = Tensor::dense({batch, tokens, model.outputs()}, model.params().dtype());
  State state = model.make_state(batch, tokens + way.beyond);
  std::vector<int64_t> ends = way.cuts;
  ends.push_back(tokens);
  int64_t from = 0;
  for (int64_t to : ends) {
    choices.from = from;
    choices.to = to;
    if (way.segments) cx.segments = segments_of(*way.segments, from, to);
    put_tokens(way.beyond ? run_beyond(model, ids, from, to, cx, state, way.beyond)
                          : model.logits(token_range(ids, from, to), cx, &state),
               out.logits, from);
    cx.prefix = {};
    cx.memory = {};
    from = to;
  }
  return out;
}

Outcome run_noisy(const LanguageModel& model, const Tensor& clean, const Tensor& seen) {
  const int64_t batch = clean.dim(0), tokens = clean.dim(1);
  const Tensor both = Tensor::dense({batch, 2 * tokens}, DType::i32);
  Context cx;
  cx.noisy = true;
  cx.positions = Tensor::dense(both.shape(), DType::i64);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < 2 * tokens; ++t) {
      both.view<int32_t>().row(b)[t] = (t < tokens ? clean : seen).view<int32_t>().row(b)[t % tokens];
      cx.positions.view<int64_t>().row(b)[t] = t % tokens;
    }
  Outcome out;
  out.logits = token_range(model.logits(both, cx), tokens, 2 * tokens);
  return out;
}

Outcome run_noisy_by_blocks(const LanguageModel& model, const Tensor& clean, const Tensor& seen) {
  const int64_t batch = clean.dim(0), tokens = clean.dim(1), block = model.config().block;
  Outcome out;
  out.logits = Tensor::dense({batch, tokens, model.vocab()}, model.params().dtype());
  State state = model.make_state(batch, tokens);
  for (int64_t from = 0; from < tokens; from += block) {
    const int64_t to = std::min(tokens, from + block);
    State own = state;
    put_tokens(model.logits(token_range(seen, from, to), {}, &own), out.logits, from);
    model.body(token_range(clean, from, to), {}, &state);
  }
  return out;
}

}  // namespace effllm

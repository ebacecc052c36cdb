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
  ChoiceTaps(Outcome& into, int64_t batch, int64_t tokens) : into_(into), batch_(batch), tokens_(tokens) {}
  int64_t from = 0;  // the first token of the call that runs

  Tensor operator()(std::string_view name, const Tensor& value) {
    if (!name.ends_with(".selected") && !name.ends_with(".margin")) return value;
    const int64_t n = value.rows() / batch_;
    Tensor& whole = into_.choices[std::string(name)];
    if (!whole.defined()) {  // what nobody shows was not there to choose
      whole = Tensor::dense({batch_, tokens_, value.cols()}, value.dtype());
      fill(whole, value.dtype() == DType::i64 ? -1 : std::numeric_limits<double>::infinity());
    }
    put_tokens(value.reshape({batch_, n, value.cols()}), whole, from);
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
  State state = model.make_state(batch, tokens);
  std::vector<int64_t> ends = way.cuts;
  ends.push_back(tokens);
  int64_t from = 0;
  for (int64_t to : ends) {
    choices.from = from;
    const Tensor piece = token_range(ids, from, to);
    if (way.segments) cx.segments = segments_of(*way.segments, from, to);
    put_tokens(model.logits(piece, cx, &state), out.logits, from);
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

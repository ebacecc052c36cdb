#include "nn/run_chosen.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>

#include "cores/route/tokens.h"

namespace effllm {
namespace {

// Sequences whose last document has no chosen token.
Sequences begun(const Call& call, const Chosen& chosen) {
  Sequences all;
  const Tensor& segments = call.segments();
  if (!segments.defined() || segments.is_meta()) return all;
  for (size_t b = 0; b < chosen.size(); ++b) {
    const int64_t* s = segments.view<int64_t>().row(static_cast<int64_t>(b));
    if (s[segments.cols() - 1] != (chosen[b].empty() ? 0 : s[chosen[b].back()])) all.push_back(static_cast<int64_t>(b));
  }
  return all;
}

Tensor places(const Chosen& chosen, const Sequences& group, int64_t count) {
  const Tensor at = Tensor::dense({static_cast<int64_t>(group.size()), count}, DType::i64);
  if (!at.is_meta())
    for (size_t i = 0; i < group.size(); ++i)
      std::ranges::copy(chosen[static_cast<size_t>(group[i])], at.data<int64_t>() + static_cast<int64_t>(i) * count);
  return at;
}

// Choices made inside are shown as those of all tokens: -1 where a token was not chosen, the margin infinite.
class WholeTaps {
 public:
  WholeTaps(const Call& call, const Shape& x) : outside_(call.pass().taps), batch_(x[0]), tokens_(x[1]) {}
  Taps of(const Sequences& group, const Tensor& at) {
    return [&](std::string_view name, const Tensor& value) {
      if (!name.ends_with(".selected") && !name.ends_with(".margin")) return (*outside_)(name, value);
      Tensor& all = shown_[std::string(name)];
      if (!all.defined()) {
        all = Tensor::dense({batch_, tokens_, value.cols()}, value.dtype());
        fill(all, value.dtype() == DType::i64 ? -1 : std::numeric_limits<double>::infinity());
      }
      for (int64_t r = 0; r < at.numel(); ++r) {
        const int64_t token = group[static_cast<size_t>(r / at.cols())] * tokens_ + at.data<int64_t>()[r];
        copy(value.row_range(r, {1, value.cols()}), all.row_range(token, {1, value.cols()}));
      }
      return value;
    };
  }
  void show() const {
    for (const auto& [name, all] : shown_) (*outside_)(name, all);
  }

 private:
  const Taps* outside_;
  int64_t batch_, tokens_;
  std::map<std::string, Tensor> shown_;
};

}  // namespace

Tensor run_chosen(const Tensor& x, const Call& call, std::string_view place, const Chosen& chosen, double share,
                  const RunChosen& f) {
  std::map<int64_t, Sequences> by_count;  // sequences with as many run together
  for (size_t b = 0; b < chosen.size(); ++b)
    by_count[static_cast<int64_t>(chosen[b].size())].push_back(static_cast<int64_t>(b));
  const Tensor positions = call.positions(x);
  const Call inside = call.child(place);
  const bool shown = call.pass().taps && *call.pass().taps && !x.is_meta();
  WholeTaps whole(call, x.shape());
  Tensor y = x;
  for (const auto& [count, group] : by_count) {
    if (count == 0) continue;
    const bool all = by_count.size() == 1;
    const Tensor at = places(chosen, group, count);
    const auto of_group = [&](const Tensor& t) { return all ? t : take_sequences(t, group); };
    const Own own = [&](const Tensor& t) { return take_tokens(of_group(t), at); };
    Tokens tokens = all ? call.tokens() : call.tokens().pick(group);
    tokens.positions = own(positions);
    if (call.segments().defined()) tokens.segments = own(call.segments());
    if (call.tokens().ids.defined()) tokens.ids = own(call.tokens().ids);
    tokens.shelf = inside.shelf_of(own);
    if (inside.site().borrows()) {
      tokens.lent = std::make_shared<LentKeys>(*tokens.lent);
      tokens.lent->at = at;
    }
    tokens.share *= share;
    Pass pass = call.pass();
    const Taps taps = shown ? whole.of(group, at) : Taps();
    if (shown) pass.taps = &taps;
    const Tensor z = put_tokens(of_group(x), at, f(own, inside.with(pass, tokens)));
    y = all ? z : put_sequences(y, group, z);
  }
  whole.show();
  if (call.has_state())
    if (const Sequences anew = begun(call, chosen); !anew.empty())
      call.pass().state->forget(inside.site(), call.tokens().pick(anew).sequences);
  return y;
}

}  // namespace effllm

#include "nn/run_chosen.h"

#include <algorithm>
#include <map>

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

}  // namespace

Tensor run_chosen(const Tensor& x, const Call& call, std::string_view place, const Chosen& chosen, const RunChosen& f) {
  std::map<int64_t, Sequences> by_count;  // sequences with as many run together
  for (size_t b = 0; b < chosen.size(); ++b)
    by_count[static_cast<int64_t>(chosen[b].size())].push_back(static_cast<int64_t>(b));
  const Tensor positions = call.positions(x);
  const Call inside = call.child(place);
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
    tokens.shelf = inside.shelf_of(own);
    const Tensor z = put_tokens(of_group(x), at, f(own, inside.with(call.pass(), tokens)));
    y = all ? z : put_sequences(y, group, z);
  }
  if (call.has_state())
    if (const Sequences anew = begun(call, chosen); !anew.empty())
      call.pass().state->forget(inside.site(), call.tokens().pick(anew).sequences);
  return y;
}

}  // namespace effllm

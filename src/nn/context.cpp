#include "nn/context.h"

#include <fmt/format.h>

namespace effllm {

int64_t StateSpec::bytes(DType t) const {
  int64_t n = 0;
  for (const auto& f : fields) n += f.shape.numel() * static_cast<int64_t>(size_of(t));
  return n;
}

MixerState MixerState::clone() const {
  MixerState s;
  for (const Tensor& f : fields) s.fields.push_back(f.clone());
  s.seen = seen.clone();
  return s;
}

MixerState make_state(const StateSpec& spec, int64_t batch, DType t) {
  MixerState s;
  for (const auto& f : spec.fields) s.fields.push_back(Tensor::zeros(f.shape.with_first(batch), t));
  s.seen = Tensor::zeros({batch}, DType::i64);
  return s;
}

Tensor token_positions(const Context& cx, int64_t batch, int64_t tokens) {
  if (cx.positions) return *cx.positions;
  Tensor p = Tensor::dense({batch, tokens}, DType::i64);
  if (p.is_meta()) return p;
  const auto v = p.view<int64_t>();
  for (int64_t b = 0; b < batch; ++b) {
    int64_t next = cx.state ? cx.state->seen.data<int64_t>()[b] : 0, document = 0;
    const int64_t* s = cx.segments ? cx.segments->view<int64_t>().row(b) : nullptr;
    for (int64_t t = 0; t < tokens; ++t) {
      if (s && s[t] != document) next = 0, document = s[t];
      v.row(b)[t] = next++;
    }
  }
  return p;
}

void advance(MixerState& state, int64_t tokens, const Tensor* segments) {
  if (MetaMode::on()) return;
  int64_t* seen = state.seen.data<int64_t>();
  for (int64_t b = 0; b < state.batch(); ++b) {
    seen[b] += tokens;
    if (!segments) continue;
    const int64_t* s = segments->view<int64_t>().row(b);
    for (int64_t t = tokens; t-- > 0;)
      if (s[t] != (t ? s[t - 1] : 0)) {
        seen[b] = tokens - t;
        break;
      }
  }
}

Tensor tap(const Context& cx, std::string_view name, const Tensor& value) {
  if (!cx.taps || !*cx.taps) return value;
  Tensor replaced = (*cx.taps)(fmt::format("{}.{}", cx.site, name), value);
  require(replaced.shape() == value.shape(), "the tap of {}.{} put {} in the place of {}", cx.site, name,
          replaced.shape().str(), value.shape().str());
  return replaced;
}

void tap_choice(const Context& cx, const Tensor& selected, const Tensor& margin) {
  if (!cx.taps || !*cx.taps) return;
  tap(cx, "selected", selected);
  tap(cx, "margin", margin);
}

RandomStream random_at(const Context& cx, std::string_view purpose) {
  return RandomStream(cx.when.seed, fmt::format("{}.{}", cx.site, purpose), static_cast<uint64_t>(cx.when.step));
}

}  // namespace effllm

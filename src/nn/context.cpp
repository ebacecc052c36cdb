#include "nn/context.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace effllm {

int64_t StateSpec::bytes(DType t) const {
  int64_t n = 0;
  for (const auto& f : fields) n += f.shape.numel() * static_cast<int64_t>(size_of(t));
  return n;
}

std::shared_ptr<const std::vector<std::string>> names_of(const StateSpec& spec) {
  std::vector<std::string> names;
  for (const auto& f : spec.fields) names.push_back(f.name);
  return std::make_shared<const std::vector<std::string>>(std::move(names));
}

Tensor& MixerState::field(std::string_view name, std::string_view prefix) {
  const size_t declared = names ? names->size() : 0;
  for (size_t i = 0; i < declared; ++i)
    if (const std::string_view n = (*names)[i];
        n.size() == prefix.size() + name.size() && n.starts_with(prefix) && n.ends_with(name))
      return fields[i];
  throw Error(ExitCode::internal,
              fmt::format("there is no field `{}{}` in a state of [{}]; name it in state_spec()", prefix, name,
                          declared ? fmt::format("{}", fmt::join(*names, ", ")) : ""));
}

MixerState MixerState::clone() const {
  MixerState s{.fields = {}, .names = names};
  for (const Tensor& f : fields) s.fields.push_back(f.clone());
  s.seen = seen.clone();
  return s;
}

MixerState make_state(const StateSpec& spec, int64_t batch, DType t) {
  MixerState s{.fields = {}, .names = names_of(spec)};
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

void advance(const Tensor& seen, int64_t tokens, const Tensor* segments) {
  if (MetaMode::on()) return;
  int64_t* counts = seen.data<int64_t>();
  for (int64_t b = 0; b < seen.numel(); ++b) {
    counts[b] += tokens;
    if (!segments) continue;
    const int64_t* s = segments->view<int64_t>().row(b);
    for (int64_t t = tokens; t-- > 0;)
      if (s[t] != (t ? s[t - 1] : 0)) {
        counts[b] = tokens - t;
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

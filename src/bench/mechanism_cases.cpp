// A case for every mechanism, because it is in a list.
#include <fmt/format.h>

#include "bench/op_bench.h"
#include "blocks/block.h"
#include "config/yaml.h"
#include "ffn/ffn.h"
#include "mixers/mixer.h"

namespace effllm {
namespace {

constexpr int64_t kDecoded = 256;  // tokens before the one that is timed
constexpr int64_t kIds = 256;

struct Mechanism {
  ParamStore store;
  std::unique_ptr<Layer> mixer;
  std::shared_ptr<const Site> site;  // whose path the records of a tape name
  std::unique_ptr<Slab> gradients;
};

Tensor some_ids(int64_t batch, int64_t tokens) {
  const Tensor ids = Tensor::dense({batch, tokens}, DType::i32);
  for (int64_t i = 0; i < ids.numel(); ++i) ids.data<int32_t>()[i] = static_cast<int32_t>(i % kIds);
  return ids;
}

BenchWork prepare(const Choice<LayerInfo>& mechanism, const BenchShape& s) {
  const bool causal = mechanism.info().causal_form;
  const auto m = std::make_shared<Mechanism>();
  m->mixer =
      mechanism.build({.d_model = s.width, .layer = 0, .layers = 4, .max_tokens = s.tokens + kDecoded, .ids = kIds},
                      Scope(m->store) / "m");
  m->site = site_of(*m->mixer);
  m->store.materialize(1, DType::f32);
  m->gradients = std::make_unique<Slab>(m->store.slab_elements(), DType::f32);
  BenchWork w;
  w.gradients = std::make_shared<ParamGrads>(m->store.gradients(*m->gradients));
  w.input = Tensor::empty({s.batch, s.tokens, s.width}, DType::f32);
  const RandomStream numbers(1, "bench");
  for (int64_t r = 0; r < w.input.rows(); ++r)
    for (int64_t c = 0; c < s.width; ++c)
      w.input.view<float>().row(r)[c] = static_cast<float>(numbers.normal(static_cast<uint64_t>(r * s.width + c)));
  w.run = [m, causal, ids = some_ids(s.batch, s.tokens)](const Tensor& x) {
    Context cx;
    cx.ids = ids;
    cx.phase = Phase::train;
    if (!causal) cx.direction = Direction::bidirectional;
    return m->mixer->forward(x, Call(cx, *m->site));
  };
  if (!causal) return w;  // no token can be decoded
  const auto state = std::make_shared<State>(m->mixer->make_state(1, kDecoded + 128, DType::f32));
  {
    const Tensor prompt = Tensor::full({1, kDecoded, s.width}, DType::f32, 0.1);
    Context cx;
    cx.ids = some_ids(1, kDecoded);
    cx.state = state.get();
    m->mixer->forward(prompt, cx);
  }
  const Tensor token = Tensor::full({1, 1, s.width}, DType::f32, 0.1);
  w.step = [m, state, token, ids = some_ids(1, 1)] {
    Context cx;
    cx.ids = ids;
    cx.state = state.get();
    m->mixer->forward(token, cx);
  };
  return w;
}

void add(std::vector<BenchCase>& cases, const List<LayerInfo>& list, const BenchShape& s, bool variants) {
  const auto one = [&](const std::string& name, const Choice<LayerInfo>& mechanism) {
    cases.push_back({name, fmt::format("{} x {} x {}", s.batch, s.tokens, s.width),
                     static_cast<double>(s.batch * s.tokens), [=] { return prepare(mechanism, s); }});
  };
  for (const LayerInfo* info : list) {
    const auto with = [&](const std::string& name, ConfigNode options) {
      options.set("type", info->name);
      one(name, list.read(options));
    };
    with(std::string(info->name), parse_config(info->needs, "needs"));
    if (!variants) continue;
    for (std::string_view v : info->variants)
      with(fmt::format("{} {}", info->name, v), merge(parse_config(info->tiny, "tiny"), parse_config(v, "variant")));
  }
}

}  // namespace

std::vector<BenchCase> mechanism_cases(const BenchShape& shape, bool variants) {
  std::vector<BenchCase> cases;
  add(cases, all_mixers, shape, variants);
  add(cases, all_ffns, shape, variants);
  add(cases, all_blocks, shape, variants);
  return cases;
}

}  // namespace effllm
